/// For each call: `Some(true)` if it runs, `Some(false)` if it is refused.
const RUNS: [Option<bool>; 8] = [
    Some(false), // 1. tail -f /dev/null
    Some(true),  // 2. tail -f /dev/null          with `timeout: 50`
    Some(true),  // 3. tail -f /dev/null &
    Some(true),  // 4. timeout 0.05 tail -f /dev/null
    Some(true),  // 5. echo tail -f /dev/null
    Some(false), // 6. true && tail -f /dev/null
    Some(false), // 7. echo 'first; tail -f is a server'
    Some(true),  // 8. tail -fn1 /dev/null & true
];
