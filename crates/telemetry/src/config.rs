//! How destinations stand in a file of configuration.
use crate::{Template, Webhook};
use rungs_files::{ConfigError, parse_yaml, read_config};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Where events go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventsConfig {
    /// Whether they are logged.
    pub log: bool,
    /// From when on a call is pointed out as slow.
    pub slow_tool_seconds: f64,
    /// To which services they are posted.
    pub webhooks: Vec<WebhookConfig>,
    /// Where all that was read.
    #[serde(skip)]
    pub file: PathBuf,
}

impl EventsConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// Names the file, the line and what is wrong.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let config = parse_yaml::<EventsConfig>(file, &read_config(file)?)?;
        Ok(EventsConfig { file: file.into(), ..config })
    }
}

/// A webhook. Secrets are named, never written down: they are environment variables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The shape of the body: see [`Template::named`].
    pub template: String,
    /// Where to, unless the service is always at the same place.
    pub url: Option<String>,
    /// The variable that holds the URL, when that is a secret, as Slack's are.
    pub url_env: Option<String>,
    /// The variable that holds the key.
    pub key_env: Option<String>,
    /// The names of the events that are sent; none stands for all.
    #[serde(default)]
    pub events: Vec<String>,
}

impl WebhookConfig {
    /// The webhook; `variable` gives the value of an environment variable.
    ///
    /// # Errors
    /// What is missing or wrong, without any secret.
    pub fn open(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Webhook, String> {
        let Some(template) = Template::named(&self.template) else {
            let known = "plain, slack, datadog or pagerduty";
            return Err(format!("there is no template `{}`; it is {known}", self.template));
        };
        let value = |name: &String| variable(name).ok_or(format!("{name} is not set"));
        let url = match (&self.url, &self.url_env) {
            (Some(_), Some(_)) => return Err("it has both `url` and `url_env`".into()),
            (_, Some(name)) => Some(value(name)?),
            (url, None) => url.clone(),
        };
        let key = self.key_env.as_ref().map(value).transpose()?;
        Webhook::new(template, url.as_deref(), key.as_deref())
    }

    /// Whether events of this name are sent.
    pub fn wants(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_variables_and_mistakes_are_named() {
        let open = |template: &str, url: &str, url_env: &str, key_env: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_string());
            let config = WebhookConfig {
                template: template.into(),
                url: some(url),
                url_env: some(url_env),
                key_env: some(key_env),
                events: vec![],
            };
            let set = |name: &str| (name == "URL").then(|| "http://127.0.0.1/x".to_string());
            config.open(set).map(|webhook| webhook.host().to_string())
        };
        assert_eq!(open("slack", "", "URL", ""), Ok("127.0.0.1".into()));
        let known = "it is plain, slack, datadog or pagerduty";
        assert_eq!(
            open("teams", "", "", ""),
            Err(format!("there is no template `teams`; {known}"))
        );
        assert_eq!(open("slack", "", "NONE", ""), Err("NONE is not set".into()));
        assert_eq!(open("datadog", "", "", "NONE"), Err("NONE is not set".into()));
        assert_eq!(open("plain", "x", "URL", ""), Err("it has both `url` and `url_env`".into()));
    }

    #[test]
    fn without_names_all_events_are_sent() {
        let mut config = WebhookConfig::default();
        assert!(config.wants("call"));
        config.events = vec!["failure".into()];
        assert_eq!([config.wants("call"), config.wants("failure")], [false, true]);
    }
}
