use rungs_core::{Context, Effect, Layer, NextAct, ToolCall, ToolResult};
use std::{fs, io, path::PathBuf, sync::Mutex};

/// The largest file that is kept.
const MAX_KEPT_BYTES: usize = 1_000_000;

/// A file, and what it held; none where there was no file.
type Kept = (PathBuf, Option<Vec<u8>>);

/// What files were before they were changed, by call, the newest last.
#[derive(Default)]
struct Undo {
    kept: Mutex<Vec<Vec<Kept>>>,
}

/// What is there now.
fn keep(path: PathBuf) -> Result<Kept, String> {
    match fs::read(&path) {
        Ok(content) if content.len() > MAX_KEPT_BYTES => {
            Err(format!("{}: it is larger than {MAX_KEPT_BYTES} bytes", path.display()))
        }
        Ok(content) => Ok((path, Some(content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

impl Layer for Undo {
    async fn act(&self, call: ToolCall, cx: &Context, next: NextAct<'_>) -> ToolResult {
        let Effect::Writes(paths) = cx.effect(&call) else { return next.run(call, cx).await };
        let kept = paths.into_iter().map(|path| keep(cx.cwd().join(path))).collect();
        match kept {
            Ok(kept) => self.kept.lock().unwrap().push(kept),
            Err(why) => {
                return call.refuse(format!("not run, since it could not be undone: {why}"));
            }
        }
        next.run(call, cx).await
    }
}

impl Undo {
    /// Takes the newest call back; what went wrong, if something did.
    fn undo(&self) -> io::Result<()> {
        let newest = self.kept.lock().unwrap().pop();
        for (path, content) in newest.unwrap_or_default() {
            match content {
                Some(content) => fs::write(path, content)?,
                None if path.exists() => fs::remove_file(path)?,
                None => {}
            }
        }
        Ok(())
    }
}
