use futures_util::future::join_all;
use rungs_core::{Context, Effect, Layer, NextBatch, ToolCall, ToolResult};

/// Runs the calls of one reply, reads that stand side by side at the same time.
struct Together;

impl Layer for Together {
    async fn batch(
        &self,
        calls: Vec<ToolCall>,
        cx: &Context,
        next: NextBatch<'_>,
    ) -> Vec<ToolResult> {
        let reads = |call: &ToolCall| cx.effect(call) == Effect::Reads;
        let mut results = vec![];
        for group in calls.chunk_by(|one, other| reads(one) && reads(other)) {
            let running = group.iter().map(|call| next.run(vec![call.clone()], cx));
            results.extend(join_all(running).await.concat());
        }
        results
    }
}
