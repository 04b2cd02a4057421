//! Lists: keyset cursors, sealed so that only what this list gave out comes back.

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use crypto::{ct_eq, digest};
use ids::{Id, Kind, TenantId, Uuid};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::ApiError;
use crate::{app::Core, secrets::CURSOR_MAC};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The page's items, in the list's stable order.
    pub items: Vec<T>,
    /// Pass as `cursor` to get the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Where in a list the request wants to go on, and how far. Extract it last of the request's parts.
#[derive(Debug, Clone)]
pub struct Paging {
    limit: u32,
    position: Option<Vec<u8>>,
    context: [u8; 32],
    uri: Uri,
}

impl FromRequestParts<Core> for Paging {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, core: &Core) -> Result<Self, ApiError> {
        let uri = parts.uri.clone();
        let (mut limit, mut cursor, mut filters) = (DEFAULT_LIMIT, None, Vec::new());
        for (name, value) in url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match name.as_ref() {
                "limit" => {
                    limit = value.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(
                        || ApiError::invalid("?/limit", format!("must be a number from 1 to {MAX_LIMIT}")),
                    )?;
                }
                "cursor" => cursor = Some(value.into_owned()),
                _ => filters.push((name.into_owned(), value.into_owned())),
            }
        }
        filters.sort_unstable();
        let context = context(uri.path(), &filters);
        let position = cursor.map(|cursor| open(core, &context, &cursor)).transpose()?;
        Ok(Self { limit, position, context, uri })
    }
}

/// A cursor belongs to one list with one set of filters.
fn context(path: &str, filters: &[(String, String)]) -> [u8; 32] {
    let mut bytes = Vec::new();
    let mut put = |text: &str| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    };
    put(path);
    for (name, value) in filters {
        put(name);
        put(value);
    }
    digest::sha256(&bytes)
}

fn seal(core: &Core, context: &[u8; 32], position: &[u8]) -> String {
    let mac = core.secrets.cursor_mac(context, position);
    URL_SAFE_NO_PAD.encode([mac.as_slice(), position].concat())
}

fn open(core: &Core, context: &[u8; 32], cursor: &str) -> Result<Vec<u8>, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ApiError::CursorInvalid)?;
    let (mac, position) = bytes.split_at_checked(CURSOR_MAC).ok_or(ApiError::CursorInvalid)?;
    if ct_eq(mac, &core.secrets.cursor_mac(context, position)) {
        Ok(position.to_vec())
    } else {
        Err(ApiError::CursorInvalid)
    }
}

/// A tenant's handle that only the control plane can make: for ids that come back outside lists.
pub(crate) fn handle(core: &Core, purpose: &str, tenant: TenantId, position: &[u8]) -> String {
    seal(core, &context(purpose, &[("tenant".to_owned(), tenant.to_string())]), position)
}

/// What is in a [`handle`]; `None` if it is not one for this purpose and tenant.
pub(crate) fn open_handle(core: &Core, purpose: &str, tenant: TenantId, handle: &str) -> Option<Vec<u8>> {
    open(core, &context(purpose, &[("tenant".to_owned(), tenant.to_string())]), handle).ok()
}

impl Paging {
    /// How many rows to ask the database for: one more than the page holds, to see whether there is another page.
    #[must_use]
    pub fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// The last item's id of the page before, for lists in order of id; all zero for the first page.
    ///
    /// # Errors
    /// [`ApiError::CursorInvalid`].
    pub fn after_id(&self) -> Result<Uuid, ApiError> {
        match &self.position {
            None => Ok(Uuid::nil()),
            Some(bytes) => Uuid::from_slice(bytes).map_err(|_| ApiError::CursorInvalid),
        }
    }

    /// Where the page before ended, as the list gave it to [`Self::page_by`].
    #[must_use]
    pub fn after(&self) -> Option<&[u8]> {
        self.position.as_deref()
    }

    /// The response of a list in order of id.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if an item is not JSON.
    pub fn page<T: Serialize, K: Kind>(
        self,
        core: &Core,
        items: Vec<T>,
        id: impl Fn(&T) -> Id<K>,
    ) -> Result<Response, ApiError> {
        self.page_by(core, items, |item| id(item).uuid().as_bytes().to_vec())
    }

    /// The response of a list in another order; `position` is what comes back through [`Self::after`].
    ///
    /// # Errors
    /// [`ApiError::Internal`] if an item is not JSON.
    pub fn page_by<T: Serialize>(
        self,
        core: &Core,
        mut items: Vec<T>,
        position: impl Fn(&T) -> Vec<u8>,
    ) -> Result<Response, ApiError> {
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let last = if more { items.last() } else { None };
        let next_cursor = last.map(|item| seal(core, &self.context, &position(item)));
        let link = next_cursor.as_ref().map(|cursor| self.link(cursor));
        let body = serde_json::to_vec(&Page { items, next_cursor }).map_err(ApiError::internal)?;
        let mut response =
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response();
        if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }

    /// RFC 8288.
    fn link(&self, cursor: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes()) {
            if name != "cursor" {
                query.append_pair(&name, &value);
            }
        }
        query.append_pair("cursor", cursor);
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.finish())
    }
}

/// Query parameters of a list without filters.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Items on a page: 1 to 200, 50 if absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    pub limit: Option<String>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_unambiguous() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_ne!(context("/a", &[pair("b", "c")]), context("/a", &[pair("bc", "")]));
        assert_ne!(context("/a", &[]), context("/b", &[]));
    }
}
