use rungs_core::{Context, Layer, NextAct, ToolCall, ToolResult};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// Refuses calls until a plan is approved. It stands before subagents too: `follows` is true unless
/// a layer says otherwise.
struct Gate {
    approved: Arc<AtomicBool>,
}

impl Layer for Gate {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        // What a call does, not what its tool is called.
        if !self.approved.load(Relaxed) && !cx.effect(&call).is_harmless() {
            return call.refuse("not run: your plan is not approved yet");
        }
        next.run(call, cx).await
    }
}
