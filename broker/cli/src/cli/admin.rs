//! `fanfare admin`: what an operator looks at and does, by the admin API.

mod api;
mod args;
mod table;

use hyper::Method;
use serde_json::{Value, json};

pub(crate) use api::Api;
use api::segment;
pub(crate) use args::{AdminArgs, TopArgs};
use args::{AdminCommand, RevokeArgs};
use table::age;
pub(crate) use table::{Table, bytes, cell, count, milliseconds};

use super::output;

/// Entries that are asked for at a time.
const PAGE: usize = 1000;

/// Does what is asked.
pub(crate) fn run(AdminArgs { reach, json, command }: AdminArgs) -> anyhow::Result<()> {
    super::runtime()?.block_on(async {
        let admin = Admin { api: reach.api()?, json };
        match command {
            AdminCommand::Connections { user, topic, limit } => {
                let query = [("user", user), ("topic", topic.map(|topic| topic.to_string()))];
                admin.list("connections", &query, limit, connections).await
            }
            AdminCommand::Connection { id, limit } => admin.connection(&id, limit).await,
            AdminCommand::Users { limit } => admin.list("users", &[], limit, users).await,
            AdminCommand::Disconnect { id: Some(id), .. } => {
                admin.delete(&format!("/v1/connections/{}", segment(&id))).await
            }
            AdminCommand::Disconnect { user, .. } => {
                let user = user.unwrap_or_default();
                admin.delete(&format!("/v1/users/{}/connections", segment(&user))).await
            }
            AdminCommand::Unsubscribe { id, topic } => {
                let (id, topic) = (segment(&id), segment(topic.as_str()));
                admin.delete(&format!("/v1/connections/{id}/subscriptions/{topic}")).await
            }
            AdminCommand::Revoke(revoke) => admin.post("/v1/revocations", &revocation(revoke)).await,
            AdminCommand::Revocations { limit } => admin.list("revocations", &[], limit, revocations).await,
            AdminCommand::Reload => admin.post("/v1/reload", &json!({})).await,
        }
    })
}

/// The broker, and how its answers are printed.
#[derive(Debug)]
struct Admin {
    api: Api,
    json: bool,
}

impl Admin {
    /// Prints up to `limit` entries of a listing, page after page.
    async fn list(
        &self,
        what: &str,
        query: &[(&str, Option<String>)],
        limit: usize,
        table: fn(&[Value]) -> Table,
    ) -> anyhow::Result<()> {
        let (mut entries, mut cursor) = (Vec::new(), None);
        loop {
            let page = (limit - entries.len()).min(PAGE).to_string();
            let mut query = query.to_vec();
            query.extend([("limit", Some(page)), ("cursor", cursor)]);
            let mut answer = self.api.ask(Method::GET, &format!("/v1/{what}"), &query, None).await?;
            let Value::Array(some) = answer[what].take() else {
                anyhow::bail!("the answer has no {what}: is it of another version?");
            };
            entries.extend(some);
            cursor = answer["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || entries.len() >= limit {
                break;
            }
        }
        if self.json {
            for entry in &entries {
                output::line(&entry.to_string())?;
            }
        } else {
            output::data(table(&entries).to_string().as_bytes())?;
        }
        if cursor.is_some() {
            output::notice(&format!("these are the first {}: --limit shows more", entries.len()));
        }
        Ok(())
    }

    async fn connection(&self, id: &str, limit: usize) -> anyhow::Result<()> {
        let path = format!("/v1/connections/{}", segment(id));
        let (mut shown, mut topics, mut cursor) = (Value::Null, Vec::new(), None);
        loop {
            let page = (limit - topics.len()).min(PAGE).to_string();
            let query = [("limit", Some(page)), ("cursor", cursor)];
            let mut answer = self.api.ask(Method::GET, &path, &query, None).await?;
            if let Value::Array(some) = answer["topics"].take() {
                topics.extend(some);
            }
            cursor = answer["cursor"].as_str().map(str::to_owned);
            shown = if shown.is_null() { answer } else { shown };
            if cursor.is_none() || topics.len() >= limit {
                break;
            }
        }
        if self.json {
            shown["topics"] = Value::Array(topics);
            shown["cursor"] = cursor.map_or(Value::Null, Value::String);
            return output::line(&shown.to_string());
        }
        let mut about = Table::new(&["", ""]);
        for (name, value) in [
            ("connection", cell(&shown["id"])),
            ("user", cell(&shown["user"])),
            ("address", cell(&shown["address"])),
            ("protocol", cell(&shown["protocol"])),
            ("worker", cell(&shown["worker"])),
            ("age", age(&shown["age_s"])),
            ("open", cell(&shown["open"])),
            ("queued", bytes(&shown["queued_bytes"])),
            ("held", bytes(&shown["held_bytes"])),
            ("blocked", milliseconds(&shown["blocked_ms"])),
            ("may subscribe", patterns(&shown["grant"]["subscribe"])),
            ("may publish", patterns(&shown["grant"]["publish"])),
            ("topics", cell(&shown["subscriptions"])),
        ] {
            about.row([name.to_owned(), value]);
        }
        let mut of_topics = Table::new(&["TOPIC", "LAG", "BEHIND"]);
        for topic in &topics {
            of_topics.row([cell(&topic["topic"]), count(&topic["lag"]), cell(&topic["behind"])]);
        }
        output::data(format!("{about}\n{of_topics}").as_bytes())?;
        if cursor.is_some() {
            output::notice(&format!("these are the first {} topics: --limit shows more", topics.len()));
        }
        Ok(())
    }

    async fn delete(&self, path: &str) -> anyhow::Result<()> {
        let answer = self.api.ask(Method::DELETE, path, &[], None).await?;
        self.say(&answer)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.api.ask(Method::POST, path, &[], Some(body)).await?;
        self.say(&answer)
    }

    /// Prints what has become of something.
    fn say(&self, answer: &Value) -> anyhow::Result<()> {
        if self.json {
            return output::line(&answer.to_string());
        }
        let Value::Object(said) = answer else {
            return output::line(&output::printable(&answer.to_string()));
        };
        for (name, value) in said {
            output::line(&format!("{}: {}", output::printable(name), cell(value)))?;
        }
        Ok(())
    }
}

fn patterns(value: &Value) -> String {
    let all: Vec<_> = value.as_array().into_iter().flatten().map(cell).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

fn connections(entries: &[Value]) -> Table {
    let mut table = Table::new(&[
        "CONNECTION",
        "USER",
        "PROTOCOL",
        "ADDRESS",
        "AGE",
        "TOPICS",
        "BEHIND",
        "QUEUED",
        "BLOCKED",
    ]);
    for entry in entries {
        table.row([
            cell(&entry["id"]),
            cell(&entry["user"]),
            cell(&entry["protocol"]),
            cell(&entry["address"]),
            age(&entry["age_s"]),
            count(&entry["subscriptions"]),
            count(&entry["behind"]),
            bytes(&entry["queued_bytes"]),
            milliseconds(&entry["blocked_ms"]),
        ]);
    }
    table
}

fn users(entries: &[Value]) -> Table {
    let mut table = Table::new(&["USER", "CONNECTIONS", "TOPICS"]);
    for entry in entries {
        table.row([cell(&entry["user"]), count(&entry["connections"]), count(&entry["subscriptions"])]);
    }
    table
}

fn revocations(entries: &[Value]) -> Table {
    let mut table = Table::new(&["USER", "JTI", "ISSUED BEFORE"]);
    for entry in entries {
        table.row([cell(&entry["user"]), cell(&entry["jti"]), cell(&entry["issued_before"])]);
    }
    table
}

fn revocation(RevokeArgs { user, jti, issued_before }: RevokeArgs) -> Value {
    let mut body = serde_json::Map::new();
    body.extend(user.map(|user| ("user".to_owned(), user.into())));
    body.extend(jti.map(|jti| ("jti".to_owned(), jti.into())));
    body.extend(issued_before.map(|time| ("issued_before".to_owned(), time.into())));
    Value::Object(body)
}
