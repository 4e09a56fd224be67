//! What a server offers, read within bounds.
use crate::{connect::Connection, schema};
use rmcp::{
    model::{PaginatedRequestParams, Prompt, Resource, ResourceTemplate, SubscriptionFilter, Tool},
    service::{RunningService, ServiceError, Subscription},
};
use std::{collections::HashSet, time::Duration};

/// How long one list, one prompt or one resource may take.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(20);
/// How many pages of a list are read, and how many entries: a server can invent both for ever.
const MAX_PAGES: usize = 20;
const MAX_ENTRIES: usize = 500;

/// What a server offers.
#[derive(Debug, Clone, Default)]
pub struct Lists {
    /// Tools that may be called: approved, and of a form that model APIs take.
    pub tools: Vec<Tool>,
    /// Prompts.
    pub prompts: Vec<Prompt>,
    /// Resources.
    pub resources: Vec<Resource>,
    /// Forms of addresses of resources.
    pub templates: Vec<ResourceTemplate>,
}

/// A list, and why it is not all that the server has; or why there is none.
type Listed<T> = Result<(Vec<T>, Option<String>), String>;

/// Reads all lists at the same time. Tools that model APIs would refuse are left out, and named.
///
/// # Errors
/// When the tools cannot be listed.
pub(crate) async fn read(connection: &Connection) -> Result<(Lists, Vec<String>), String> {
    let service: &RunningService<_, _> = &connection.service;
    let Some(info) = service.peer_info() else {
        return Err("it did not say what it is".into());
    };
    let offers = &info.capabilities;
    let has_resources = offers.resources.is_some();
    let tools = pages("tools", offers.tools.is_some(), |page| async move {
        let list = service.list_tools(page).await?;
        Ok((list.tools, list.next_cursor))
    });
    let others = async {
        Ok(tokio::join!(
            pages("prompts", offers.prompts.is_some(), |page| async move {
                let list = service.list_prompts(page).await?;
                Ok((list.prompts, list.next_cursor))
            }),
            pages("resources", has_resources, |page| async move {
                let list = service.list_resources(page).await?;
                Ok((list.resources, list.next_cursor))
            }),
            pages("templates", has_resources, |page| async move {
                let list = service.list_resource_templates(page).await?;
                Ok((list.resource_templates, list.next_cursor))
            }),
        ))
    };
    // Without tools nothing else is waited for.
    let ((tools, fault), (prompts, resources, templates)) = tokio::try_join!(tools, others)?;
    let mut faults = Vec::from_iter(fault);
    let mut lists = Lists {
        tools,
        prompts: kept(prompts, &mut faults),
        resources: kept(resources, &mut faults),
        templates: kept(templates, &mut faults),
    };
    let mut names = HashSet::new();
    lists.tools.retain(|tool| {
        let fault = match names.insert(tool.name.clone()) {
            true => schema::fault(&tool.input_schema),
            false => Some("it is listed twice".into()),
        };
        faults.extend(fault.iter().map(|why| format!("{:?} is left out: {why}", tool.name)));
        fault.is_none()
    });
    Ok((lists, faults))
}

/// What there is of a list. Why it is not all joins the faults.
fn kept<T>(listed: Listed<T>, faults: &mut Vec<String>) -> Vec<T> {
    let (entries, fault) = listed.unwrap_or_else(|why| (vec![], Some(why)));
    faults.extend(fault);
    entries
}

/// All entries of a list, up to the bounds; none of one that is not offered.
async fn pages<T, F: Future<Output = Result<(Vec<T>, Option<String>), ServiceError>>>(
    what: &str,
    is_offered: bool,
    page: impl Fn(Option<PaginatedRequestParams>) -> F,
) -> Listed<T> {
    let (mut entries, mut cursor) = (vec![], None);
    if !is_offered {
        return Ok((entries, None));
    }
    for _ in 0..MAX_PAGES {
        let wanted = cursor.map(|at| PaginatedRequestParams::default().with_cursor(Some(at)));
        let (more, next) = match tokio::time::timeout(LIST_TIMEOUT, page(wanted)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return Err(format!("its {what} cannot be listed: {error}")),
            Err(_) => return Err(format!("it did not list its {what} within {LIST_TIMEOUT:?}")),
        };
        entries.extend(more);
        if next.is_none() && entries.len() <= MAX_ENTRIES {
            return Ok((entries, None));
        }
        if entries.len() > MAX_ENTRIES {
            break;
        }
        cursor = next;
    }
    entries.truncate(MAX_ENTRIES);
    let fault = format!("it lists more {what} than {MAX_ENTRIES}, or in too many pages");
    Ok((entries, Some(fault)))
}

/// In the newer revision of the protocol, changes are told to those who ask for it.
pub(crate) async fn subscribe(connection: &Connection) -> Option<Subscription> {
    let info = connection.service.peer_info()?;
    if info.protocol_version.has_initialize() {
        return None;
    }
    let offers = &info.capabilities;
    let tools = offers.tools.as_ref()?.list_changed == Some(true);
    if !tools {
        return None;
    }
    let filter = SubscriptionFilter::builder().tools_list_changed();
    tokio::time::timeout(LIST_TIMEOUT, connection.service.listen(filter.build())).await.ok()?.ok()
}
