//! A database that goes away and comes back.

use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::{Gateway, servers::Servers};

impl Gateway {
    /// Ends every connection to the gateway's database, and takes no new one.
    pub async fn postgres_goes_away(&self) {
        let name = name_of(&self.database_url);
        let mut admin = PgConnection::connect(&Servers::of_this_run().database("postgres")).await.unwrap();
        let close = format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false");
        admin.execute(sqlx::AssertSqlSafe(close)).await.unwrap();
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        admin.execute(sqlx::AssertSqlSafe(end)).await.unwrap();
        admin.close().await.unwrap();
    }

    /// Takes connections again.
    pub async fn postgres_comes_back(&self) {
        let mut admin = PgConnection::connect(&Servers::of_this_run().database("postgres")).await.unwrap();
        let open = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", name_of(&self.database_url));
        admin.execute(sqlx::AssertSqlSafe(open)).await.unwrap();
        admin.close().await.unwrap();
    }
}

/// Name of the database that a URL is of.
fn name_of(url: &str) -> &str {
    url.split('?').next().unwrap_or_default().rsplit('/').next().unwrap_or_default()
}
