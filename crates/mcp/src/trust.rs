//! Servers of projects that a person has agreed to start. Whoever writes a project's files can
//! write any command into them, so nothing in them is started before.
use crate::{Chosen, Config, Person};
use durable::{Error, Folder};
use std::{collections::BTreeSet, path::Path};

/// How large the file may be, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
const FILE: &str = "trusted_servers.json";

/// The file of these servers. It lies outside of all projects: one could bring it along. Its calls
/// block for short.
#[derive(Debug)]
pub struct Trust {
    folder: Folder,
    fingerprints: BTreeSet<String>,
}

impl Trust {
    /// Opens the file in this folder. What cannot be read trusts nobody.
    ///
    /// # Errors
    /// When there is something else in its place.
    pub fn open(folder: Folder) -> Result<Trust, Error> {
        let bytes = folder.read(FILE, MAX_FILE_BYTES)?.unwrap_or_default();
        let fingerprints = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(Trust { folder, fingerprints })
    }

    /// Leaves out the servers of this project that the person does not agree to start. Who agreed
    /// once is not asked again, as long as the server is reached in just this way.
    ///
    /// # Errors
    /// When an agreement cannot be written down.
    pub async fn ask(
        &mut self,
        config: &mut Config,
        project: &Path,
        person: &impl Person,
    ) -> Result<(), Error> {
        let mut refused = vec![];
        for (name, server) in config.servers.iter().filter(|(_, server)| server.is_projects) {
            let fingerprint = server.fingerprint(name, project);
            if self.fingerprints.contains(&fingerprint) {
                continue;
            }
            let what = server.describe();
            let question =
                format!("start the MCP server {name}, which {} asks for?", project.display());
            let choice = format!("start it, now and whenever it is just this: {what}");
            if person.is_there() && person.choose(question, vec![choice]).await == Chosen::Choice(0)
            {
                self.fingerprints.insert(fingerprint);
                let text = serde_json::to_string(&self.fingerprints).unwrap_or_default();
                self.folder.write(FILE, text.as_bytes())?;
                continue;
            }
            person.notice(&format!("MCP server {name} is not started: nobody agreed to {what}"));
            refused.push(name.clone());
        }
        refused.iter().for_each(|name| drop(config.servers.remove(name)));
        Ok(())
    }
}
