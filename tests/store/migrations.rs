//! What a migration does with rows that are there.

use std::fs;

use crate::{connect, new_database, run};

/// A database as it was before the migration with this number; with it, and those after it, in order.
async fn before(number: &str) -> (sqlx::PgConnection, Vec<String>) {
    let (url, mut conn) = new_database().await;
    let empty = url.replace("/t_", "/w_");
    let name = empty.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    run(&mut conn, &format!("CREATE DATABASE {name}")).await.unwrap();
    let mut conn = connect(&empty).await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let read = |path: &std::path::PathBuf| fs::read_to_string(path).unwrap();
    let name = |path: &std::path::PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    run(&mut conn, &fs::read_to_string(format!("{folder}/roles.sql")).unwrap()).await.unwrap();
    run(&mut conn, "SET ROLE portcullis_owner").await.unwrap();
    let is_numbered = |path: &&std::path::PathBuf| name(path).starts_with(|c: char| c.is_ascii_digit());
    let (old, new): (Vec<_>, Vec<_>) =
        files.iter().filter(is_numbered).partition(|path| name(path).as_str() < number);
    for path in old {
        run(&mut conn, &read(path)).await.unwrap();
    }
    (conn, new.into_iter().map(read).collect())
}

#[tokio::test]
async fn accounts_of_before_they_had_homes_are_at_home_where_they_joined_first() {
    let (mut conn, migrations) = before("20261128003000").await;
    run(&mut conn, "RESET ROLE").await.unwrap();
    let rows = "
        INSERT INTO pools VALUES ('00000000-0000-0000-0000-000000000001', 'shared', now());
        INSERT INTO tenants (id, slug, name, pool_id, rev, suspended, created_at, updated_at)
          SELECT lpad(n::text, 32, '0')::uuid, 't' || n, 'T', '00000000-0000-0000-0000-000000000001', 0, false, now(), now()
          FROM generate_series(1, 2) n;
        INSERT INTO accounts (id, email, created_at, updated_at)
          SELECT lpad(n::text, 32, '0')::uuid, 'p' || n || '@example.com', now(), now() FROM generate_series(11, 13) n;
        INSERT INTO members (tenant_id, id, account_id, email, admin_role, enabled, created_at, updated_at)
          SELECT lpad(tenant::text, 32, '0')::uuid, gen_random_uuid(), lpad(account::text, 32, '0')::uuid,
            'p' || account || '@example.com', 'user', true, now() + days * interval '1 day', now()
          FROM (VALUES (1, 11, 2), (2, 11, 1), (1, 12, 1)) AS m (tenant, account, days)";
    run(&mut conn, rows).await.unwrap();
    run(&mut conn, "SET ROLE portcullis_owner").await.unwrap();
    for migration in &migrations {
        run(&mut conn, migration).await.unwrap();
    }
    run(&mut conn, "RESET ROLE").await.unwrap();
    let homes: Vec<(String, String)> = sqlx::query_as(
        "SELECT a.email, t.slug FROM accounts a JOIN tenants t ON t.id = a.home_tenant_id ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let expected = [("p11@example.com", "t2"), ("p12@example.com", "t1")];
    assert_eq!(homes, expected.map(|(email, slug)| (email.to_owned(), slug.to_owned())), "nobody's are gone");
    let forced: bool =
        sqlx::query_scalar("SELECT relforcerowsecurity FROM pg_class WHERE oid = 'members'::regclass")
            .fetch_one(&mut conn)
            .await
            .unwrap();
    assert!(forced);
}
