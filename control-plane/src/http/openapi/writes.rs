//! What holds for every write, added to the operations that take part in it.

use utoipa::openapi::{
    HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Schema,
    path::{Operation, PathItem},
    schema::Type,
};

/// Adds the revision headers to what waits for proxies, and makes merge patches' fields optional.
pub(super) fn complete(api: &mut OpenApi) {
    let mut patched = Vec::new();
    for item in api.paths.paths.values_mut() {
        for operation in operations(item) {
            revision_headers(operation);
            patched.extend(merge_patch(operation));
        }
    }
    let Some(components) = &mut api.components else { return };
    for name in patched {
        let Some(RefOr::T(Schema::Object(settings))) = components.schemas.get(&name) else { continue };
        let mut patch = settings.clone();
        // RFC 7396: an absent field stays, and null gives it the value that a new resource would have.
        patch.required.clear();
        components.schemas.insert(format!("{name}Patch"), RefOr::T(Schema::Object(patch)));
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten()
}

/// Whoever has a `wait` parameter answers with a revision.
fn revision_headers(operation: &mut Operation) {
    let waits = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == "wait",
        RefOr::Ref(_) => false,
    });
    // A kill makes no revision.
    let waits = waits && operation.tags.iter().flatten().all(|tag| tag != "kills");
    let successes =
        operation.responses.responses.iter_mut().filter(|(status, _)| waits && status.starts_with('2'));
    for (_, response) in successes {
        let RefOr::T(response) = response else { continue };
        for (name, kind, description) in [
            (
                "Portcullis-Revision",
                Type::Integer,
                "Revision of the tenant's configuration that the write made",
            ),
            (
                "Portcullis-Convergence",
                Type::String,
                "With `wait=applied`: `rev=…, applied=…, rejected=…, unreachable=…`, counted over the live proxies of \
                 the tenant's pool",
            ),
        ] {
            let schema = ObjectBuilder::new().schema_type(kind);
            let header = HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build();
            response.headers.insert(name.to_owned(), RefOr::T(header));
        }
    }
}

/// Points a merge patch at the schema whose fields are optional; returns the name of the one with the fields themselves.
fn merge_patch(operation: &mut Operation) -> Option<String> {
    let Some(RefOr::T(body)) = &mut operation.request_body else { return None };
    let RefOr::T(content) = body.content.get_mut("application/merge-patch+json")? else { return None };
    let Some(RefOr::Ref(reference)) = &content.schema else { return None };
    let name = reference.ref_location.rsplit('/').next()?.to_owned();
    content.schema = Some(RefOr::Ref(Ref::from_schema_name(format!("{name}Patch"))));
    Some(name)
}
