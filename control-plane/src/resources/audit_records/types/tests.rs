use ids::Uuid;
use serde_json::json;

use super::*;

fn query(text: &str) -> Result<AuditQuery, String> {
    let pairs = serde_urlencoded::Deserializer::new(url::form_urlencoded::parse(text.as_bytes()));
    AuditQuery::deserialize(pairs).map_err(|error| error.to_string())
}

#[test]
fn filters_are_typed_and_closed() {
    let client = ClientId::from_parts(1, [1; 10]);
    let read = query(&format!(
        "from=2026-11-20T10:00:00Z&to=2026-11-21T10:00:00%2B02:00&client_id={client}&phase=outcome&decision=refused\
         &code=rate_limited&include=content&limit=10"
    ))
    .unwrap();
    assert_eq!(read.client_id, Some(client));
    assert_eq!((read.phase, read.decision), (Some(RecordPhase::Outcome), Some(RecordDecision::Refused)));
    assert_eq!(read.from.unwrap().unix_timestamp() + 22 * 3600, read.to.unwrap().unix_timestamp());
    assert_eq!(read.include, Some(Include::Content));
    assert!(query("").is_ok());
    for wrong in ["tenant=x", "client_id=ups_1", "from=yesterday", "phase=4", "phase=", "include=all"] {
        assert!(query(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn numbers_are_those_of_the_wire() {
    for phase in [RecordPhase::Intent, RecordPhase::Outcome, RecordPhase::Act, RecordPhase::Aggregate] {
        assert_eq!(RecordPhase::from_number(phase.number()), Some(phase));
    }
    for decision in [RecordDecision::Allowed, RecordDecision::Refused] {
        assert_eq!(RecordDecision::from_number(decision.number()), Some(decision));
    }
    assert_eq!((RecordPhase::from_number(0), RecordDecision::from_number(0)), (None, None));
}

#[test]
fn what_does_not_apply_is_null_and_content_is_absent_unless_asked_for() {
    let client = ClientId::from_parts(1, [1; 10]);
    let row = Row {
        at: OffsetDateTime::UNIX_EPOCH,
        proxy_id: Uuid::nil(),
        boot: vec![0xab; 16],
        seq: 3,
        phase: v1::Phase::Outcome as i16,
        decision: v1::Decision::Refused as i16,
        call_id: None,
        client_id: Some(client.uuid()),
        key_id: None,
        endpoint_id: None,
        upstream_id: None,
        tool_id: None,
        body: Vec::new(),
        leaf_hash: vec![1; 32],
        stored_at: OffsetDateTime::UNIX_EPOCH,
    };
    let body = v1::AuditRecord {
        code: "tool_not_granted".to_owned(),
        status: 200,
        response_digest: vec![2; 32],
        sealed_excerpt: vec![1],
        ..v1::AuditRecord::default()
    };
    let json = serde_json::to_value(AuditRecord::of(row, body, None)).unwrap();
    assert_eq!(json["client_id"], json!(client));
    assert_eq!((&json["phase"], &json["decision"]), (&json!("outcome"), &json!("refused")));
    assert_eq!((&json["status"], &json["code"]), (&json!(200), &json!("tool_not_granted")));
    assert_eq!(
        (&json["proxy_id"], &json["count"], &json["target"]),
        (&json!(null), &json!(null), &json!(null))
    );
    assert_eq!(json["sealed"], json!(["excerpt"]));
    assert_eq!(json["response_digest"], json!("02".repeat(32)));
    assert!(json.get("arguments").is_none() && json.get("excerpt").is_none());
}
