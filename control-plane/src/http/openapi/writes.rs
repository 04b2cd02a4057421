//! What holds for every write, added to the operations that take part in it.

use utoipa::openapi::{
    HeaderBuilder, Object, ObjectBuilder, OpenApi, Ref, RefOr, Required, Schema,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem},
    schema::Type,
};

use super::super::ending;

/// Adds the parameters that all writes have and the headers of their answers, and makes merge patches' fields optional.
pub(super) fn complete(api: &mut OpenApi) {
    let mut patched = Vec::new();
    for item in api.paths.paths.values_mut() {
        for operation in [&mut item.patch, &mut item.put].into_iter().flatten() {
            require_if_match(operation);
        }
        for operation in operations(item) {
            dry_run(operation);
            idempotency_key(operation);
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

/// The kill switch is not held up, and its acts make no revision.
fn is_of_kills(operation: &Operation) -> bool {
    has_tag(operation, "kills")
}

fn has_tag(operation: &Operation, wanted: &str) -> bool {
    operation.tags.iter().flatten().any(|tag| tag == wanted)
}

fn add(operation: &mut Operation, parameter: Parameter) {
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}

/// Every successful answer gets a header.
fn add_header(operation: &mut Operation, name: &str, kind: Type, description: &str) {
    let successes = operation.responses.responses.iter_mut().filter(|(status, _)| status.starts_with('2'));
    for (_, response) in successes {
        let RefOr::T(response) = response else { continue };
        let schema = ObjectBuilder::new().schema_type(kind.clone());
        let header = HeaderBuilder::new().description(Some(description)).schema(Some(schema)).build();
        response.headers.insert(name.to_owned(), RefOr::T(header));
    }
}

fn require_if_match(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && parameter.name == "If-Match"
        {
            parameter.required = Required::True;
        }
    }
}

fn dry_run(operation: &mut Operation) {
    let schema = ObjectBuilder::new().schema_type(Type::Boolean);
    let description =
        "Do everything but the commit: the answer is the write's, its ids and secrets stand for nothing";
    let parameter = ParameterBuilder::new()
        .name(ending::DRY_RUN)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema));
    add(operation, parameter.build());
    add_header(operation, "Portcullis-Dry-Run", Type::String, "`true`: this was a dry run");
}

fn idempotency_key(operation: &mut Operation) {
    // Who reports leaks is not known, so that nobody is there whose keys these could be.
    if is_of_kills(operation) || has_tag(operation, "leaks") {
        return;
    }
    let text = r#"^([!#-~]{1,255}|"[!#-~]{1,255}")$"#;
    let schema: Object = ObjectBuilder::new().schema_type(Type::String).pattern(Some(text)).into();
    let description = "For 24 hours the same request of the same token with this key is answered as the first was, and \
                       not done again; of one tenant, or of all operators, the newest 20,000 answers are kept, \
                       64 MiB of them at most. Visible ASCII, bare or as a quoted string";
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema));
    add(operation, parameter.build());
    let description = "`true`: the answer to the first request with this key";
    add_header(operation, "Portcullis-Replayed", Type::String, description);
}

/// Whoever has a `wait` parameter answers with a revision.
fn revision_headers(operation: &mut Operation) {
    let waits = operation.parameters.iter().flatten().any(|parameter| match parameter {
        RefOr::T(parameter) => parameter.name == "wait",
        RefOr::Ref(_) => false,
    });
    if !waits || is_of_kills(operation) {
        return;
    }
    let description = "Revision of the tenant's configuration that the write made";
    add_header(operation, "Portcullis-Revision", Type::Integer, description);
    let description = "With `wait=applied`: `rev=…, applied=…, rejected=…, unreachable=…`, counted over the live proxies of \
                       the tenant's pool";
    add_header(operation, "Portcullis-Convergence", Type::String, description);
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
