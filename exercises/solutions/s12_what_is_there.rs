/// Whether the file is in the task's worktree: `Some(true)` or `Some(false)`.
const A: Option<bool> = Some(true);
const B: Option<bool> = Some(true);
const C: Option<bool> = Some(false);
const D: Option<bool> = Some(false);
const ENV: Option<bool> = Some(false);
const E: Option<bool> = Some(false);
const F: Option<bool> = Some(false);
const G: Option<bool> = Some(true);
/// Whether b.txt, if it is there, holds the change that is not committed.
const B_IS_CHANGED: Option<bool> = Some(false);
/// Whether `git log --all` in the main folder shows the commit with g.txt.
const MAIN_SEES_THE_COMMIT: Option<bool> = Some(true);
/// Whether `git stash list` in the task's worktree shows what was stashed in the main folder.
const STASH_IS_SHARED: Option<bool> = Some(true);
