//! The API's description, generated from the handlers.

use std::collections::BTreeMap;

use utoipa::{
    IntoParams, IntoResponses, OpenApi, ToSchema,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, InfoBuilder, Object, ObjectBuilder, Ref, RefOr, Response,
        ResponseBuilder, Schema,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{ArrayItems, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

mod writes;

use super::{deprecation, router};

/// The description as pretty JSON: OpenAPI 3.1.
#[must_use]
pub fn document() -> String {
    let mut json = serde_json::to_string_pretty(&openapi()).unwrap_or_default();
    json.push('\n');
    json
}

/// The description.
pub(super) fn openapi() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(components(schemas(ProblemDocument, ProblemPlace)))]
    struct Base;

    let mut api = Base::openapi();
    api.info = InfoBuilder::new()
        .title("Portcullis admin API")
        .version("v1")
        .description(Some(
            "Operators' resources are at the root, a tenant's under `/v1/tenants/{tenant}`. Errors are problem \
             documents (RFC 9457) with a stable `code`.",
        ))
        .build();
    let (_, routes) = router::routes().split_for_parts();
    api.merge(routes);
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "An operator token (`pop_…`) or an admin token (`pat_…`). A member who has signed in (`/session/sign-in`) has a cookie \
             in its place, with the scopes of their `admin_role`; with it writes carry `Portcullis-CSRF` (`GET /v1/session`)",
        ))
        .build();
    let components = api.components.get_or_insert_default();
    components.add_security_scheme("token", SecurityScheme::Http(scheme));
    for (status, description) in PROBLEMS {
        components.responses.insert(format!("Problem{status}"), RefOr::T(problem(description)));
    }
    components.schemas =
        components.schemas.iter().map(|(name, schema)| (name.clone(), flat(schema, components))).collect();
    writes::complete(&mut api);
    deprecation::mark(&mut api, deprecation::LEAVING);
    api
}

/// What is flattened in the code, as one object: the parts by themselves allow no fields but their own, so that nothing
/// would satisfy all of them.
fn flat(schema: &RefOr<Schema>, components: &Components) -> RefOr<Schema> {
    match schema {
        RefOr::T(Schema::AllOf(all)) => {
            let mut whole = Object::with_type(Type::Object);
            whole.description = all.description.clone();
            for part in &all.items {
                let part = match part {
                    RefOr::Ref(part) => {
                        components.schemas.get(part.ref_location.rsplit('/').next().unwrap_or_default())
                    }
                    part => Some(part),
                };
                if let Some(RefOr::T(Schema::Object(part))) = part.map(|part| flat(part, components)) {
                    whole.properties.extend(part.properties);
                    whole.required.extend(part.required);
                }
            }
            RefOr::T(Schema::Object(whole))
        }
        RefOr::T(Schema::Object(object)) => {
            let mut object = object.clone();
            object.properties.values_mut().for_each(|property| *property = flat(property, components));
            RefOr::T(Schema::Object(object))
        }
        RefOr::T(Schema::Array(array)) => {
            let mut array = array.clone();
            if let ArrayItems::RefOrSchema(items) = &mut array.items {
                **items = flat(items, components);
            }
            RefOr::T(Schema::Array(array))
        }
        schema => schema.clone(),
    }
}

/// A problem document (RFC 9457).
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what `errors::problem` renders")]
struct ProblemDocument {
    /// Resolves to the code's page.
    r#type: String,
    title: String,
    status: u16,
    /// Stable.
    code: String,
    /// About this occurrence.
    detail: Option<String>,
    /// What to do next.
    remedy: String,
    /// Whether the same request may succeed later.
    retryable: bool,
    retry_after_ms: Option<u64>,
    request_id: Option<String>,
    /// Places in the request.
    errors: Option<Vec<ProblemPlace>>,
}

/// One wrong place.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes what `errors::problem` renders")]
struct ProblemPlace {
    /// JSON Pointer into the body; `?/name` is a query parameter.
    pointer: String,
    message: String,
}

/// Path parameter `{tenant}`.
#[derive(Debug)]
pub struct TenantPath;

impl IntoParams for TenantPath {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![
            ParameterBuilder::new()
                .name("tenant")
                .parameter_in(ParameterIn::Path)
                .required(utoipa::openapi::Required::True)
                .description(Some("Id (`tnt_…`) or slug of the tenant"))
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .build(),
        ]
    }
}

/// The refusals every operation may answer.
#[derive(Debug)]
pub struct Problems;

/// Status and meaning of each.
const PROBLEMS: [(&str, &str); 14] = [
    ("400", "Malformed request"),
    ("401", "No valid credential"),
    ("403", "The credential lacks the scope"),
    ("404", "No such thing, or not for this caller"),
    ("408", "The request took too long to arrive or to be worked on"),
    ("409", "Clashes with what exists"),
    ("412", "`If-Match` names another state"),
    ("413", "Body over 1 MiB"),
    ("415", "Another content type is expected"),
    ("422", "Not valid; `errors` names the places"),
    ("428", "`If-Match` is missing"),
    ("429", "The token, its tenant or the address asked too much; `Retry-After` says when to ask again"),
    ("500", "Internal error"),
    ("503", "Storage is not available"),
];

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        PROBLEMS
            .iter()
            .map(|(status, _)| {
                ((*status).to_owned(), RefOr::Ref(Ref::from_response_name(format!("Problem{status}"))))
            })
            .collect()
    }
}

fn problem(description: &str) -> Response {
    ResponseBuilder::new()
        .description(description)
        .header(
            "X-Request-Id",
            HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build(),
        )
        .content(
            errors::problem::CONTENT_TYPE,
            ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemDocument"))).build(),
        )
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_openapi_3_1_and_stable() {
        let document = document();
        assert!(document.contains("\"openapi\": \"3.1."));
        assert_eq!(document, super::document());
    }

    #[test]
    fn a_resource_is_one_object_with_all_its_fields() {
        let api = serde_json::to_value(openapi()).unwrap();
        let tool = &api["components"]["schemas"]["ToolDetail"];
        for field in ["id", "class", "seen_definition"] {
            assert!(tool["properties"][field].is_object(), "{field}: {tool}");
        }
        assert!(!document().contains("\"allOf\""));
    }

    #[test]
    fn writes_say_their_revision_and_patches_require_nothing() {
        let api = serde_json::to_value(openapi()).unwrap();
        let patch = &api["paths"]["/v1/tenants/{tenant}/endpoints/{endpoint}"]["patch"];
        assert!(patch["responses"]["200"]["headers"]["Portcullis-Revision"].is_object());
        assert!(
            patch["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .any(|p| p["name"] == "If-Match" && p["in"] == "header")
        );
        let schema = &patch["requestBody"]["content"]["application/merge-patch+json"]["schema"]["$ref"];
        assert_eq!(schema, "#/components/schemas/EndpointSettingsPatch");
        let schema = &api["components"]["schemas"]["EndpointSettingsPatch"];
        assert!(schema["required"].is_null() && schema["properties"]["name"].is_object());
    }

    #[test]
    fn every_operation_says_who_may_call_it() {
        let api = serde_json::to_value(openapi()).unwrap();
        let open = ["/v1/openapi.json", "/v1/reference", "/v1/credential-format", "/v1/leaks"];
        for (path, operations) in api["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                if path.starts_with("/errors/") || open.contains(&path.as_str()) {
                    continue;
                }
                let security = operation["security"].as_array();
                assert!(security.is_some_and(|list| !list.is_empty()), "{method} {path}");
                assert!(operation["operationId"].is_string(), "{method} {path}");
                assert!(operation["responses"]["401"].is_object(), "{method} {path}");
            }
        }
    }
}
