//! The codes in a server's answer, in the words that DNS experts use. Pure.

use std::fmt::Write;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// The number of the option with an extended error (RFC 8914).
const EXTENDED_ERROR: u16 = 15;
/// The longest part of a server's own text that is repeated, in characters.
const TEXT: usize = 120;

/// The names of extended errors, by number, from the registry of RFC 8914.
const EXTENDED_ERRORS: [&str; 31] = [
    "Other Error",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
    "Signature Expired before Valid",
    "Too Early",
    "Unsupported NSEC3 Iterations Value",
    "Unable to conform to policy",
    "Synthesized",
    "Invalid Query Type",
];

/// The code of a message, with the server's own explanation: `SERVFAIL (DNSSEC Bogus: no valid
/// signature)`.
pub(super) fn described(message: &Message) -> String {
    format!("{}{}", mnemonic(message.metadata.response_code), extended(message))
}

/// The extended errors of a message in parentheses. Empty if there are none.
pub(super) fn extended(message: &Message) -> String {
    let options = message.edns.iter().flat_map(|edns| edns.options().get_all(EdnsCode::Unknown(EXTENDED_ERROR)));
    let errors: Vec<String> = options.filter_map(extended_error).collect();
    if errors.is_empty() { String::new() } else { format!(" ({})", errors.join("; ")) }
}

fn extended_error(option: &EdnsOption) -> Option<String> {
    let EdnsOption::Unknown(_, data) = option else { return None };
    let (code, text) = data.split_first_chunk()?;
    let code = u16::from_be_bytes(*code);
    let mut described = match EXTENDED_ERRORS.get(usize::from(code)) {
        Some(name) => (*name).to_owned(),
        None => format!("extended error {code}"),
    };
    let text: String = String::from_utf8_lossy(text).chars().filter(|char| !char.is_control()).take(TEXT).collect();
    if !text.trim().is_empty() {
        let _ = write!(described, ": {}", text.trim());
    }
    Some(described)
}

fn mnemonic(code: ResponseCode) -> String {
    let name = match code {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        // Two codes share this number. BADVERS is the one for questions without signatures.
        ResponseCode::BADVERS | ResponseCode::BADSIG => "BADVERS",
        ResponseCode::BADCOOKIE => "BADCOOKIE",
        other => return format!("the response code {}", u16::from(other)),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Edns;

    use super::*;

    fn message(errors: &[&[u8]]) -> Message {
        let mut message = Message::query().into_response();
        message.metadata.response_code = ResponseCode::ServFail;
        let mut edns = Edns::new();
        for error in errors {
            edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, error.to_vec()));
        }
        message.set_edns(edns);
        message
    }

    #[test]
    fn what_a_server_says_of_its_code() {
        let long = [b"\0\x00".as_slice(), &[b'x'; 1000]].concat();
        let cut = format!("SERVFAIL (Other Error: {})", "x".repeat(TEXT));
        let cases: &[(&[&[u8]], &str)] = &[
            (&[], "SERVFAIL"),
            (&[b"\0\x06"], "SERVFAIL (DNSSEC Bogus)"),
            (&[b"\0\x16at \x1b[31mdelegation\0\n"], "SERVFAIL (No Reachable Authority: at [31mdelegation)"),
            (&[b"\0\x06", b"\x03\xe8"], "SERVFAIL (DNSSEC Bogus; extended error 1000)"),
            (&[b"\0"], "SERVFAIL"),
            (&[&long], &cut),
        ];
        for (errors, expected) in cases {
            assert_eq!(described(&message(errors)), *expected);
        }
    }

    #[test]
    fn codes_have_the_names_that_people_know() {
        assert_eq!(mnemonic(ResponseCode::Refused), "REFUSED");
        assert_eq!(mnemonic(ResponseCode::from(1, 0)), "BADVERS");
        assert_eq!(mnemonic(ResponseCode::from(0, 11)), "the response code 11");
    }
}
