//! The address under which the exporter is reached from outside, and the path before its routes.

use url::Url;

/// Reads the external URL of a flag.
///
/// # Errors
/// What would be right.
pub fn external(text: &str) -> Result<Url, String> {
    let url =
        Url::parse(text).map_err(|error| format!("{error}; expected a URL such as https://dr.example.org/dr/"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("expected http:// or https://, and a host".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("expected a URL without `?` and `#`".to_owned());
    }
    Ok(url)
}

/// Reads the route prefix of a flag: empty, or as `/dr`.
///
/// # Errors
/// What would be right.
pub fn prefix(text: &str) -> Result<String, String> {
    let bare = text.trim_matches('/');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
    if !bare.bytes().all(fits) || bare.contains("//") {
        return Err("expected a path such as /dr".to_owned());
    }
    Ok(if bare.is_empty() { String::new() } else { format!("/{bare}") })
}

/// The route prefix: the one that is given, or else the path of the external URL.
#[must_use]
pub fn prefix_or_path(prefix: Option<String>, external: Option<&Url>) -> String {
    let of_path = || external.map(|external| external.path().trim_end_matches('/').to_owned());
    prefix.or_else(of_path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_the_path_of_the_external_url_unless_it_is_given() {
        let of = |given: Option<&str>, url: Option<&str>| {
            let given = given.map(|given| prefix(given).expect("a prefix"));
            prefix_or_path(given, url.map(|url| external(url).expect("a URL")).as_ref())
        };
        assert_eq!(of(None, None), "");
        assert_eq!(of(None, Some("https://dr.example.org")), "");
        assert_eq!(of(None, Some("https://example.org/ops/dr/")), "/ops/dr");
        assert_eq!(of(Some("/"), Some("https://example.org/ops/dr/")), "");
        assert_eq!(of(Some("dr/"), Some("https://example.org/ops/")), "/dr");
        for wrong in ["dr.example.org", "ftp://dr.example.org", "https://dr.example.org/?a=b", "/dr", "'https://a'"] {
            assert!(external(wrong).is_err(), "{wrong}");
        }
        for wrong in ["/a b", "/a?b", "/a//b"] {
            assert!(prefix(wrong).is_err(), "{wrong}");
        }
    }
}
