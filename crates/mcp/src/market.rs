//! A small server, for whoever has none: it sells fruit. It has one of everything that a client
//! meets: a tool that reads, one that acts and asks the person first, a prompt and a resource.
use rmcp::{
    ErrorData, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock,
        GetPromptRequestParams, GetPromptResponse, GetPromptResult, Implementation,
        ListPromptsResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
        PromptMessage, ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult,
        ResourceContents, Role, ServerCapabilities, ServerConfig,
    },
    service::{RequestContext, RoleServer, serve_server},
    transport::stdio,
};
use serde_json::{Value, json};

/// What there is, with its price in cents.
const PRICES: [(&str, u64); 4] = [("apple", 30), ("pear", 60), ("plum", 20), ("quince", 90)];
const LIST: &str = "market://prices";

/// The server.
struct Market;

/// Serves it on standard input and output until the input ends.
///
/// # Errors
/// Why it could not begin.
pub async fn serve() -> Result<(), String> {
    let service = serve_server(Market, stdio()).await.map_err(|error| error.to_string())?;
    service.waiting().await.map(|_| ()).map_err(|error| error.to_string())
}

fn price(fruit: &str) -> Result<u64, String> {
    match PRICES.iter().find(|(name, _)| *name == fruit) {
        Some((_, cents)) => Ok(*cents),
        None => Err(format!("there is no {fruit:?}; there are {}", names().join(", "))),
    }
}

fn names() -> Vec<&'static str> {
    PRICES.iter().map(|(name, _)| *name).collect()
}

/// JSON as a type of the protocol.
fn typed<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value)
        .map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

fn failed(why: String) -> CallToolResponse {
    CallToolResult::error(vec![ContentBlock::text(why)]).into()
}

impl ServerHandler for Market {
    fn get_info(&self) -> ServerConfig {
        let offers =
            ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources();
        ServerConfig::new(offers.build())
            .with_server_info(Implementation::new("market", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let fruit = json!({"type": "string", "enum": names()});
        let count = json!({"type": "integer", "minimum": 1, "maximum": 100});
        typed(json!({"tools": [
            {"name": "price", "description": "The price of one piece of a fruit, in cents.",
             "inputSchema": {"type": "object", "properties": {"fruit": fruit},
                             "required": ["fruit"]},
             "annotations": {"readOnlyHint": true}},
            {"name": "order",
             "description": "Orders fruit. The person is asked before anything is bought.",
             "inputSchema": {"type": "object", "properties": {"fruit": fruit, "count": count},
                             "required": ["fruit", "count"]}},
        ]}))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let input = Value::Object(request.arguments.unwrap_or_default());
        let fruit = input["fruit"].as_str().unwrap_or_default();
        let cents = match price(fruit) {
            Ok(cents) => cents,
            Err(why) => return Ok(failed(why)),
        };
        if request.name == "price" {
            return Ok(CallToolResult::structured(json!({"fruit": fruit, "cents": cents})).into());
        }
        let (true, Some(count)) = (request.name == "order", input["count"].as_u64()) else {
            return Ok(failed("`count` says how many".into()));
        };
        let total = cents.saturating_mul(count);
        // Nothing is kept between two requests: the client comes again, with the answer.
        let Some(answers) = request.input_responses else {
            let sure = json!({"type": "boolean", "title": "buy", "default": false});
            let question = format!("{count} x {fruit} for {total} cents?");
            let form = json!({"mode": "form", "message": question,
                "requestedSchema": {"type": "object", "properties": {"sure": sure},
                                    "required": ["sure"]}});
            let ask = json!({"method": "elicitation/create", "params": form});
            let asked: rmcp::model::InputRequiredResult =
                typed(json!({"resultType": "input_required", "inputRequests": {"sure": ask}}))?;
            return Ok(asked.into());
        };
        let answer = answers.get("sure").cloned().unwrap_or_default();
        if answer["action"] != "accept" || answer["content"]["sure"] != true {
            return Ok(failed("nothing was ordered: the person did not agree".into()));
        }
        let bought = format!("ordered {count} x {fruit} for {total} cents");
        Ok(CallToolResult::success(vec![ContentBlock::text(bought)]).into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        typed(json!({"prompts": [{"name": "shopping",
            "description": "What to buy for so much money.",
            "arguments": [{"name": "cents", "description": "how much there is", "required": true}],
        }]}))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let Some(cents) = arguments["cents"].as_str() else {
            return Err(ErrorData::invalid_params("`cents` says how much there is", None));
        };
        let text =
            format!("Look up the prices at the market. What fruit can I buy for {cents} cents?");
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        typed(json!({"resources": [{"uri": LIST, "name": "prices", "mimeType": "text/plain",
            "description": "All prices, in cents."}]}))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != LIST {
            return Err(ErrorData::invalid_params(format!("there is no {}", request.uri), None));
        }
        let lines: String =
            PRICES.iter().map(|(name, cents)| format!("{name} {cents}\n")).collect();
        Ok(ReadResourceResult::new(vec![ResourceContents::text(lines, LIST)]).into())
    }
}
