/// For each call: `Some(true)` if it runs, `Some(false)` if it is refused.
const RUNS: [Option<bool>; 12] = [
    Some(true),  // 1. read
    Some(false), // 2. bash
    Some(false), // 3. bash of a subagent
    Some(true),  // 4. request "A"
    Some(false), // 5. request "B"
    Some(false), // 6. bash
    Some(true),  // 7. bash, after "A" was approved
    Some(true),  // 8. bash of a subagent
    Some(true),  // 9. request "C"
    Some(false), // 10. bash
    Some(false), // 11. bash, after "C" was rejected, and then "approved"
    Some(true),  // 12. read
];
