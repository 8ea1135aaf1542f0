//! The files of the page. They are compiled in, so the page needs nothing from elsewhere.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::error;

/// A file that is compiled in.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const FILES: [File; 3] = [
    File { name: "page.css", kind: "text/css; charset=utf-8", text: include_str!("files/page.css") },
    File { name: "page.js", kind: "text/javascript; charset=utf-8", text: include_str!("files/page.js") },
    File { name: "icon.svg", kind: "image/svg+xml", text: include_str!("files/icon.svg") },
];

/// A word that changes with the files, so that a browser never shows a new page with old files.
pub(super) const STAMP: u32 = stamp();

const fn stamp() -> u32 {
    let mut hash: u32 = 0x811c_9dc5;
    let mut file = 0;
    while file < FILES.len() {
        let bytes = FILES[file].text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
            at += 1;
        }
        file += 1;
    }
    hash
}

/// Serves a file.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return error(StatusCode::NOT_FOUND, "there is no such file");
    };
    let headers: [(HeaderName, &str); 2] =
        [(header::CONTENT_TYPE, file.kind), (header::CACHE_CONTROL, "public, max-age=86400")];
    (headers, file.text).into_response()
}
