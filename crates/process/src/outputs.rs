//! Where long outputs go.
use std::{
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};
use tempfile::TempDir;

/// How many long outputs are kept; each is at most [`Clip::SPILL`](crate::Clip::SPILL) long.
const KEPT: usize = 8;

/// Where one owner's long outputs are: a folder of the system's temporary one that is its user's alone, and gone with
/// this. Not in the working directory, where they would turn up in searches and in commits.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<Option<(TempDir, usize)>>);

impl Outputs {
    /// The path for a new file; the oldest go.
    ///
    /// # Errors
    /// When the folder can't be made or read.
    pub fn next(&self) -> io::Result<PathBuf> {
        let mut state = self.0.lock().unwrap();
        let (folder, number) = match &mut *state {
            Some(state) => state,
            none => none.insert((tempfile::Builder::new().prefix("rungs-").tempdir()?, 0)),
        };
        *number += 1;
        let kept = std::fs::read_dir(folder.path())?.filter_map(|file| Some(file.ok()?.path()));
        let mut kept: Vec<(usize, PathBuf)> =
            kept.filter_map(|file| Some((number_of(&file)?, file))).collect();
        kept.sort();
        for (_, old) in kept.iter().rev().skip(KEPT - 1) {
            std::fs::remove_file(old)?;
        }
        Ok(folder.path().join(format!("{number}.txt")))
    }

    /// The folder, if the path is in it.
    pub fn holding(&self, path: &str) -> Option<PathBuf> {
        let state = self.0.lock().unwrap();
        let folder = state.as_ref()?.0.path();
        Path::new(path).starts_with(folder).then(|| folder.to_path_buf())
    }
}

fn number_of(file: &Path) -> Option<usize> {
    file.file_stem()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_all_go_at_the_end() {
        let outputs = Outputs::default();
        let files: Vec<PathBuf> = (0..12)
            .map(|_| {
                let file = outputs.next().unwrap();
                std::fs::write(&file, "").unwrap();
                file
            })
            .collect();
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [[false; 4].as_slice(), &[true; KEPT]].concat());
        let folder = outputs.holding(files[11].to_str().unwrap()).unwrap();
        assert_eq!(outputs.holding("/etc/passwd"), None);
        drop(outputs);
        assert!(!folder.exists());
    }
}
