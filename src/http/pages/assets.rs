//! Stylesheet, icons, mark and scripts, compiled in. Their addresses contain their hash, so they may be cached for ever.

use std::sync::LazyLock;

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("static/usherd.css"), "css", "text/css; charset=utf-8"));
pub static ICONS: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("static/icons.svg"), "svg", "image/svg+xml"));
pub static MARK: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("static/mark.svg"), "svg", "image/svg+xml"));

/// htmx 4.0.1 as published, see `static/vendor`: it fetches the console's dialogs.
pub static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new(include_bytes!("static/vendor/htmx-4.0.1.min.js"), "js", "text/javascript; charset=utf-8")
});
/// The console's own script, which shows them.
pub static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("static/console.js"), "js", "text/javascript; charset=utf-8"));

/// What keeps a page as it is now.
pub static LIVE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new(include_bytes!("static/live.js"), "js", "text/javascript; charset=utf-8"));

/// A file of the pages.
#[derive(Debug)]
pub struct Asset {
    path: String,
    etag: String,
    content_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(bytes: &'static [u8], extension: &str, content_type: &'static str) -> Self {
        let hash: String = Sha256::digest(bytes)[..10].iter().map(|byte| format!("{byte:02x}")).collect();
        Asset { path: format!("/assets/{hash}.{extension}"), etag: format!("\"{hash}\""), content_type, bytes }
    }

    /// Its address on this service, `/assets/<hash>.<extension>`.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn answer(&self, request: &HeaderMap) -> Response {
        let etag = HeaderValue::from_str(&self.etag).expect("a quoted hex text");
        let headers = [
            (header::CACHE_CONTROL, HeaderValue::from_static(FOR_EVER)),
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::ETAG, etag),
        ];
        if self.is_known_by(request) {
            (StatusCode::NOT_MODIFIED, headers).into_response()
        } else {
            (headers, self.bytes).into_response()
        }
    }

    /// RFC 9110 §13.1.2: weak comparison against a list, or `*`.
    fn is_known_by(&self, request: &HeaderMap) -> bool {
        request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.etag)
        })
    }
}

/// One route per asset: any other address under `/assets/` meets the caller's fallback.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let assets: [&'static Asset; 6] = [&STYLE, &ICONS, &MARK, &HTMX, &SCRIPT, &LIVE];
    assets.into_iter().fold(Router::new(), |router, asset| {
        router.route(asset.path(), get(async move |headers: HeaderMap| asset.answer(&headers)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asset_is_cached_for_ever_and_not_sent_again_to_who_has_it() {
        let first = STYLE.answer(&HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()["cache-control"], "public, max-age=31536000, immutable");
        let etag = first.headers()["etag"].to_str().unwrap();
        for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
            let mut request = HeaderMap::new();
            request.insert("if-none-match", known.parse().unwrap());
            assert_eq!(STYLE.answer(&request).status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        let mut request = HeaderMap::new();
        request.insert("if-none-match", "\"other\"".parse().unwrap());
        assert_eq!(STYLE.answer(&request).status(), StatusCode::OK);
    }

    #[test]
    fn the_vendored_script_is_the_published_one() {
        // `sha256sum package/dist/htmx.min.js` of the npm package htmx.org 4.0.1.
        let published = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130";
        let hash: String = Sha256::digest(HTMX.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, published);
    }

    #[test]
    fn the_address_of_an_asset_changes_with_its_bytes() {
        let one = Asset::new(b"a", "css", "text/css");
        let other = Asset::new(b"b", "css", "text/css");
        // SHA-256 of "a" (FIPS 180-4): ca978112ca1bbdcafac231b3…
        assert_eq!(one.path(), "/assets/ca978112ca1bbdcafac2.css");
        assert_ne!(one.path(), other.path());
    }
}
