//! Queries on their way to the consumer: those of one read of one connection, with their names in one text.

use std::net::IpAddr;

use forebay_world::Timestamp;

use crate::line_log::Asked;
use crate::prefix::Prefix;
use crate::query::{LoggedQuery, Vantage};

/// Queries that were received together. Client addresses are cut: what is left is the first address of the /24 or /56.
#[derive(Debug, Default)]
pub struct QueryBatch {
    rows: Vec<Row>,
    names: String,
}

#[derive(Debug)]
struct Row {
    at: Timestamp,
    client: IpAddr,
    server: Option<IpAddr>,
    ecs: Option<Prefix>,
    /// Where the name ends; it begins where the one before ends.
    name_end: u32,
    qtype: u16,
    vantage: Vantage,
}

impl QueryBatch {
    /// How many queries.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The queries, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = LoggedQuery<'_>> {
        let mut begin = 0;
        self.rows.iter().map(move |row| {
            let end = row.name_end as usize;
            let name = &self.names[begin..end];
            begin = end;
            LoggedQuery {
                at: row.at,
                client: row.client,
                server: row.server,
                ecs: row.ecs,
                name,
                qtype: row.qtype,
                vantage: row.vantage,
            }
        })
    }

    pub(super) fn push(&mut self, asked: &Asked, name: &str) {
        self.names.push_str(name);
        self.rows.push(Row {
            at: asked.at,
            client: Prefix::of_client(asked.client).address(),
            server: asked.server,
            ecs: asked.ecs.map(Prefix::truncated),
            // A read has at most some hundred KiB of frames, and a name of 255 bytes at most 1 KiB of text.
            name_end: self.names.len() as u32,
            qtype: asked.qtype,
            vantage: asked.vantage,
        });
    }
}
