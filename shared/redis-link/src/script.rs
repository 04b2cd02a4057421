//! Scripts, sent by their digest, and in full to a server that does not know them.
//!
//! The crate's own way loads a script on every node of a cluster, which fails for all as long as one is gone.

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, ToRedisArgs};

use crate::Connection;

#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    digest: String,
}

/// A call of a script.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Script {
    pub(crate) fn new(text: &'static str) -> Self {
        Self { text, digest: redis::Script::new(text).get_hash().to_owned() }
    }

    pub(crate) fn call(&self) -> Call<'_> {
        Call { script: self, keys: Vec::new(), args: Vec::new() }
    }
}

impl Call<'_> {
    pub(crate) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        arg.write_redis_args(&mut self.args);
        self
    }

    pub(crate) async fn send<T: FromRedisValue>(&self, mut connection: Connection) -> RedisResult<T> {
        let unknown = ErrorKind::Server(ServerErrorKind::NoScript);
        match self.command("EVALSHA", &self.script.digest).query_async(&mut connection).await {
            Err(error) if error.kind() == unknown => {
                self.command("EVAL", self.script.text).query_async(&mut connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        command
    }
}
