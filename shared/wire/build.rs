//! Compiles `proto/` with protox: no `protoc` is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 5] = [
        "portcullis/v1/callers.proto",
        "portcullis/v1/snapshot.proto",
        "portcullis/v1/control.proto",
        "portcullis/v1/audit.proto",
        "portcullis/v1/kill.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".portcullis.v1.Replace.snapshot")
        .bytes(".portcullis.v1.Chunk.bytes")
        .bytes(".portcullis.v1.Changes.upserts")
        .bytes(".portcullis.v1.Definitions.definitions")
        .bytes(".portcullis.v1.AuditBatch.records")
        // Definitions are sliced out of the snapshot's buffer, not copied.
        .bytes(".portcullis.v1.Tool.definition")
        .bytes(".portcullis.v1.ToolDefinition.definition")
        // These hold secrets; `redacted.rs` says what of them may be shown.
        .skip_debug([
            ".portcullis.v1.TenantKey",
            ".portcullis.v1.Replace",
            ".portcullis.v1.Chunk",
            ".portcullis.v1.Delta",
            ".portcullis.v1.Changes",
            ".portcullis.v1.Definitions",
            ".portcullis.v1.EnrolRequest",
        ])
        .compile_fds(descriptors)?;
    Ok(())
}
