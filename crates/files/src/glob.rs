use crate::{
    Fault, Root, Stop,
    name_filter::Names,
    search::{Place, shown},
};
use std::{cmp::Reverse, path::PathBuf, sync::Mutex, time::SystemTime};

/// How many files are shown.
const SHOWN: usize = 100;

/// The newest so far, never many more than are shown.
#[derive(Default)]
struct Newest {
    files: Vec<(Reverse<SystemTime>, PathBuf)>,
    seen: usize,
}

/// The files whose names match the glob, the newest first, one a line, at most a hundred.
///
/// # Errors
/// When the glob or the folder is wrong, or it was stopped.
pub fn files(root: &Root, path: Option<&str>, glob: &str, stop: Stop<'_>) -> Result<String, Fault> {
    let place = Place::of(root, path)?;
    let names = Names::matching(root, glob)?;
    let newest = Mutex::new(Newest::default());
    place.visit(&place.walk(), &names, stop, || {
        |inside: &std::path::Path| {
            // Looked at below the root's handle: what is not there was never beneath it.
            if let Ok(modified) = root.modified(inside) {
                newest.lock().unwrap().add(modified, inside.to_path_buf());
            }
            true
        }
    })?;
    let mut newest = newest.into_inner().unwrap();
    newest.cut();
    if newest.files.is_empty() {
        return Ok("(no files match)".into());
    }
    let mut text: String = newest.files.iter().map(|(_, path)| shown(path) + "\n").collect();
    if newest.seen > SHOWN {
        text.push_str(&format!(
            "[the newest {SHOWN} of {}; narrow the pattern to see others]\n",
            newest.seen
        ));
    }
    Ok(text)
}

impl Newest {
    fn add(&mut self, modified: SystemTime, path: PathBuf) {
        self.seen += 1;
        self.files.push((Reverse(modified), path));
        if self.files.len() >= SHOWN * 10 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.files.sort();
        self.files.truncate(SHOWN);
    }
}
