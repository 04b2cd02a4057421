//! What of the API is on its way out: RFC 9745 `Deprecation` and RFC 8594 `Sunset` on its answers, `deprecated` in its
//! description.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use seams::Timestamp;
use time::{format_description::BorrowedFormatItem, macros::format_description};
use utoipa::openapi::{Deprecated, OpenApi};

const DEPRECATION: HeaderName = HeaderName::from_static("deprecation");
const SUNSET: HeaderName = HeaderName::from_static("sunset");
/// IMF-fixdate of RFC 9110.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// An operation goes on working at least so long after it was called deprecated, seconds: a year.
const NOTICE: u64 = 365 * 24 * 60 * 60;

/// An operation on its way out.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    /// `GET` and so on.
    pub method: &'static str,
    /// As in the router.
    pub path: &'static str,
    /// Since when, in seconds of Unix time.
    pub since: u64,
    /// When it may stop to work, in seconds of Unix time.
    pub sunset: u64,
    /// Path of what to use instead.
    pub successor: &'static str,
}

/// All of them. A row comes with an entry in `openapi/CHANGELOG.md`.
pub const LEAVING: &[Leaving] = &[];

// Nobody is given less notice.
const _: () = {
    let mut rest = LEAVING;
    while let [leaving, others @ ..] = rest {
        assert!(leaving.sunset >= leaving.since + NOTICE);
        rest = others;
    }
};

/// The layer: says so in the answers of those in `leaving`.
pub async fn announce(State(leaving): State<&'static [Leaving]>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let found = leaving.iter().find(|row| row.path == path && row.method == request.method().as_str());
    let mut response = next.run(request).await;
    if let Some(leaving) = found {
        leaving.write(response.headers_mut());
    }
    response
}

impl Leaving {
    fn write(&self, headers: &mut HeaderMap) {
        let sunset = Timestamp::from_micros(self.sunset * 1_000_000).to_offset().format(HTTP_DATE);
        let link = format!("<{}>; rel=\"successor-version\"", self.successor);
        for (name, value) in [
            (DEPRECATION, Some(format!("@{}", self.since))),
            (SUNSET, sunset.ok()),
            (header::LINK, Some(link)),
        ] {
            // A list has a link of its own.
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.append(name, value);
            }
        }
    }
}

/// Marks them in the description.
pub(super) fn mark(api: &mut OpenApi, leaving: &[Leaving]) {
    for row in leaving {
        let Some(item) = api.paths.paths.get_mut(row.path) else { continue };
        let operation = match row.method {
            "GET" => &mut item.get,
            "POST" => &mut item.post,
            "PUT" => &mut item.put,
            "PATCH" => &mut item.patch,
            _ => &mut item.delete,
        };
        if let Some(operation) = operation {
            operation.deprecated = Some(Deprecated::True);
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware::from_fn_with_state, routing::get};
    use tower::ServiceExt as _;

    use super::*;

    const ROWS: &[Leaving] = &[Leaving {
        method: "GET",
        path: "/v1/pools/{pool}",
        since: 1_795_000_000,
        sunset: 1_830_000_000,
        successor: "/v1/groups",
    }];

    #[tokio::test]
    async fn a_deprecated_operation_says_so_and_no_other_does() {
        let both = get(async || "").post(async || "");
        let routes: Router =
            Router::new().route("/v1/pools/{pool}", both).layer(from_fn_with_state(ROWS, announce));
        let ask = async |method: &str| {
            let request = http::Request::builder().method(method).uri("/v1/pools/x").body(Body::empty());
            routes.clone().oneshot(request.unwrap()).await.unwrap().headers().clone()
        };
        let headers = ask("GET").await;
        assert_eq!(headers["deprecation"], "@1795000000");
        assert_eq!(headers["sunset"], "Tue, 28 Dec 2027 13:20:00 GMT");
        assert_eq!(headers["link"], "</v1/groups>; rel=\"successor-version\"");
        assert!(ask("POST").await.get("deprecation").is_none());
    }

    #[test]
    fn the_description_marks_it() {
        let mut api = super::super::openapi::openapi();
        mark(&mut api, ROWS);
        let api = serde_json::to_value(api).unwrap();
        assert_eq!(api["paths"]["/v1/pools/{pool}"]["get"]["deprecated"], true);
        assert!(api["paths"]["/v1/pools"]["get"]["deprecated"].is_null());
    }
}
