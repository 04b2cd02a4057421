use proptest::prelude::*;
use seams::SeededEntropy;

use super::{data_key, entropy, tenant};
use crate::{
    Aad, DataKey, FileKek, Kek, KekError, MasterPurpose, Purpose, SealError, ct_eq,
    digest::{self, hex},
    password,
};

const FILE_1: &str = "portcullis-master-key v1\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";
const KEY_2: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n";

fn place(row: &[u8]) -> Aad<'_> {
    Aad { tenant: tenant(1), table: "upstream_credentials", column: "sealed", row }
}

#[test]
fn hkdf_is_rfc_5869() {
    // Test case 1, its first 32 bytes.
    let salt: Vec<u8> = (0..=0x0c).collect();
    let info: Vec<u8> = (0xf0..=0xf9).collect();
    let out = digest::hkdf_sha256(&salt, &[0x0b; 22], &[&info]);
    assert_eq!(hex(&out), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

#[test]
fn digests_are_the_standard_ones() {
    assert_eq!(
        hex(&digest::sha256(b"abc")),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let mut parts = digest::Sha256::default();
    parts.update(b"a");
    parts.update(b"bc");
    assert_eq!(parts.finish(), digest::sha256(b"abc"));
    // RFC 9162: the hash of the empty leaf.
    assert_eq!(
        hex(&digest::leaf_hash(b"")),
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    );
    assert_eq!(digest::node_hash(&[1; 32], &[2; 32]), digest::sha256_parts(&[&[1], &[1; 32], &[2; 32]]));
    // RFC 4231, test case 1 has a 20-byte key; HMAC pads keys with zeros, so 32 bytes give the same.
    let mut key = [0; 32];
    key[..20].fill(0x0b);
    assert_eq!(
        hex(&digest::hmac_sha256(&key, &[b"Hi ", b"There"])),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    );
    assert!(ct_eq(b"same", b"same") && !ct_eq(b"same", b"sama") && !ct_eq(b"same", b"sam"));
}

#[test]
fn derived_keys_golden() {
    let key = data_key(1);
    assert_eq!(
        hex(&key.derive(Purpose::Seal)),
        "20b0136e1bdae2d5e4ce9dc9d202b1ac32a150c30210f58f8d1b0b0c8800056d"
    );
    assert_eq!(
        hex(&key.derive(Purpose::ApiKeyHash)),
        "9d97c4cd3e703314c72744cd1cd7056221d28c06fc0acb7d47d3348bee3ee222"
    );
    assert_eq!(
        hex(&key.derive(Purpose::AuditMac)),
        "421fc8808ab725ecd1e6d7e98064a16b5a98a62d5f774933ffedecdcba4624a0"
    );
    assert_eq!(
        hex(&key.derive(Purpose::SessionSeal)),
        "7602f4273500be108c187bac0b00c693fbc16dd8a8da1502cb5b6f53ed2fc5ae"
    );
    assert_eq!(
        hex(&key.derive(Purpose::Cursor)),
        "c54c4ec1c8755697a165d2f9221bd5ad0c05af7c9fc6c9b7898428ee5605be8d"
    );
    let other_id = DataKey::new(data_key(2).id, [1; 32]);
    assert_ne!(key.derive(Purpose::Seal), other_id.derive(Purpose::Seal));
}

#[test]
fn seal_golden() {
    let sealed = data_key(1).sealer().seal(&place(b"row"), b"Bearer xyz", &entropy()).unwrap();
    assert_eq!(
        hex(&sealed),
        "01d70d3259e4e1cb631c663cf4e74cc5e0cc206600ef83a252e0a626366c61b977b2773cdd64ab"
    );
    assert_eq!(*data_key(1).sealer().open(&place(b"row"), &sealed).unwrap(), b"Bearer xyz");
}

#[test]
fn a_sealed_value_opens_only_in_its_place() {
    let sealer = data_key(1).sealer();
    let sealed = sealer.seal(&place(b"row-1"), b"secret", &entropy()).unwrap();
    let elsewhere = [
        Aad { tenant: tenant(2), ..place(b"row-1") },
        Aad { table: "upstream_credential", ..place(b"row-1") },
        Aad { column: "ssealed", ..place(b"row-1") },
        place(b"row-2"),
        // The same bytes, cut between the fields elsewhere.
        Aad { table: "upstream_credentialss", column: "ealed", ..place(b"row-1") },
    ];
    for aad in elsewhere {
        assert_eq!(sealer.open(&aad, &sealed).unwrap_err(), SealError::Unauthentic, "{aad:?}");
    }
    assert_eq!(data_key(2).sealer().open(&place(b"row-1"), &sealed).unwrap_err(), SealError::Unauthentic);
    let mut other_version = sealed.clone();
    other_version[0] = 2;
    assert_eq!(sealer.open(&place(b"row-1"), &other_version).unwrap_err(), SealError::UnknownVersion);
    assert_eq!(sealer.open(&place(b"row-1"), &[]).unwrap_err(), SealError::Malformed);
}

#[test]
fn master_key_file_golden() {
    let kek = FileKek::from_bytes(FILE_1.as_bytes()).unwrap();
    assert_eq!(kek.id().to_string(), "96190bf20a2d48ce");
    assert_eq!(
        hex(&kek.derive(MasterPurpose::TokenHash)),
        "89f00529c9dbb6553724b6a64cea6204e169585675e616b73d0f2296d82d0e22"
    );
    let wrapped = data_key(1).wrap(&kek, tenant(1), &entropy()).unwrap();
    assert_eq!(
        hex(&wrapped),
        "0196190bf20a2d48ced70d3259e4e1cb631c663cf46ff50662ff4fe95769b8b67880967e51a2e993fdc0072b371756a7284783487050045b17a80986c1623f11bdbc0af373"
    );
    let generated = FileKek::generate_file(&entropy());
    assert!(FileKek::from_bytes(&generated).is_ok());
    assert!(generated.starts_with(b"portcullis-master-key v1\n"));
}

#[test]
fn master_key_files_are_read_strictly() {
    let parse = |text: &str| FileKek::from_bytes(text.as_bytes()).unwrap_err();
    assert_eq!(parse(""), KekError::UnknownFormat);
    assert_eq!(parse(&FILE_1.replace("v1", "v2")), KekError::UnknownFormat);
    assert_eq!(parse("portcullis-master-key v1\n"), KekError::WrongCount);
    assert_eq!(parse(&FILE_1.replace("AQE=", "AQ==")), KekError::BadKey(2));
    assert_eq!(parse(&format!("{FILE_1}{KEY_2}{}", KEY_2.replace("Ag", "Aw"))), KekError::WrongCount);
    assert_eq!(parse(&format!("{FILE_1}{}", &FILE_1[25..])), KekError::WrongCount);
}

#[test]
fn a_second_master_key_opens_what_it_wrapped() {
    let old = FileKek::from_bytes(FILE_1.as_bytes()).unwrap();
    let rotated = FileKek::from_bytes(FILE_1.replacen('\n', &format!("\n{KEY_2}"), 1).as_bytes()).unwrap();
    let alone = FileKek::from_bytes(format!("portcullis-master-key v1\n{KEY_2}").as_bytes()).unwrap();
    let key = data_key(1);
    let before = key.wrap(&old, tenant(1), &entropy()).unwrap();
    let opened = DataKey::unwrap(&rotated, tenant(1), key.id, &before).unwrap();
    assert_eq!(opened.material, key.material);
    assert_eq!(DataKey::unwrap(&alone, tenant(1), key.id, &before).unwrap_err(), SealError::UnknownKey);
    let after = key.wrap(&rotated, tenant(1), &entropy()).unwrap();
    assert!(DataKey::unwrap(&alone, tenant(1), key.id, &after).is_ok());
    assert_eq!(DataKey::unwrap(&rotated, tenant(2), key.id, &before).unwrap_err(), SealError::Unauthentic);
    assert_eq!(
        DataKey::unwrap(&rotated, tenant(1), data_key(2).id, &before).unwrap_err(),
        SealError::Unauthentic
    );
    let ids: Vec<_> = rotated.token_hashers().into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [alone.id(), old.id()]);
}

#[test]
fn nothing_shows_a_key() {
    let kek = FileKek::from_bytes(FILE_1.as_bytes()).unwrap();
    let shown =
        format!("{:?} {kek:?} {:?} {:?}", data_key(1), data_key(1).sealer(), data_key(1).session_key());
    assert!(!shown.contains("1, 1") && !shown.contains("0101") && !shown.contains("AQEB"), "{shown}");
}

#[test]
fn passwords() {
    let stored = password::hash(b"correct horse", &entropy()).unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
    assert_eq!(
        stored,
        "$argon2id$v=19$m=19456,t=2,p=1$1w0yWeThy2McZjz01zxMBA$rphJ1PddaJxamxexSNZmmFMv6ix0V+mQVhh3K3ar85g"
    );
    assert_eq!(password::verify(b"correct horse", &stored), Ok(true));
    assert_eq!(password::verify(b"correct horsf", &stored), Ok(false));
    assert!(password::verify(b"x", "$2b$12$abcdefghijklmnopqrstuv").is_err());
    assert!(password::verify(b"x", &stored.replace("m=19456", "m=4194304")).is_err(), "asks for 4 GiB");
    assert!(password::verify(b"x", &stored.replace("t=2", "t=4000000")).is_err());
    assert!(password::verify(b"x", &stored.replace("argon2id", "argon2i")).is_err());
}

proptest! {
    #[test]
    fn sealed_values_open_and_any_flipped_bit_is_noticed(
        seed: u64, row in prop::collection::vec(any::<u8>(), 0..20),
        secret in prop::collection::vec(any::<u8>(), 0..200), bit: usize,
    ) {
        let sealer = data_key(1).sealer();
        let mut sealed = sealer.seal(&place(&row), &secret, &SeededEntropy::new(seed)).unwrap();
        prop_assert_eq!(&*sealer.open(&place(&row), &sealed).unwrap(), &secret);
        let bit = bit % (sealed.len() * 8);
        sealed[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(sealer.open(&place(&row), &sealed).is_err());
    }

    #[test]
    fn rows_are_not_interchangeable(
        a in prop::collection::vec(any::<u8>(), 0..20), b in prop::collection::vec(any::<u8>(), 0..20),
        table in "[a-z]{0,8}", column in "[a-z]{0,8}",
    ) {
        let sealer = data_key(1).sealer();
        let sealed = sealer.seal(&place(&a), b"secret", &entropy()).unwrap();
        let other = Aad { table: &table, column: &column, ..place(&b) };
        prop_assert!(sealer.open(&other, &sealed).is_err());
        prop_assert_eq!(sealer.open(&place(&b), &sealed).is_ok(), a == b);
    }
}
