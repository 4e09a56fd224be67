/// Three of the main agent, two of ann, one of bob.
const REQUESTS: usize = 6;
/// The prompt, and then reply and results by turns; what the subagents said is one result.
const MAIN_MESSAGES: usize = 6;
/// Where it is, the brief, and the job.
const BLOCKS_IN_FIRST: usize = 3;
/// Nobody told her.
const ANN_KNOWS_THE_LAUNCH: Option<bool> = Some(false);
/// A plan is a state of the conversation, and hers is another one.
const ANN_READS_THE_PLAN: Option<bool> = Some(false);
/// With the same tools both share the prompt cache; the budget bounds the depth.
const ANN_HAS_TASK: Option<bool> = Some(true);
/// Only her last message went back.
const MAIN_READS_IT: Option<bool> = Some(false);
