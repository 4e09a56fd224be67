//! The folder in which a script is played.
use crate::script::file::{Folder, WorkspacePlan};
use durable::{Folder as Base, Scratch};
use git2::{Commit, Repository, RepositoryInitOptions, Signature, Time};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Where the tools work while a script is played.
#[derive(Debug)]
pub enum Workspace {
    /// In the current folder.
    Here,
    /// In a folder made for it.
    Fresh(TempFolder),
}

/// How the names of temporary folders begin.
const PREFIX: &str = "rehearsal";

/// A temporary folder, removed when dropped, or by [`Workspace::sweep`] when its owner was killed.
#[derive(Debug)]
pub struct TempFolder {
    folder: Scratch,
    path: PathBuf,
}

impl Workspace {
    pub(crate) fn make(plan: &WorkspacePlan) -> Result<Self, WorkspaceError> {
        match plan {
            WorkspacePlan::Here => Ok(Workspace::Here),
            WorkspacePlan::Fresh(folder) => TempFolder::make(folder).map(Workspace::Fresh),
        }
    }

    /// The folder that was made; `None` means the current folder.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Workspace::Here => None,
            Workspace::Fresh(folder) => Some(folder.path()),
        }
    }

    /// Removes the folders of owners that were killed. Blocks.
    ///
    /// # Errors
    /// When the system's temporary folder cannot be listed.
    pub fn sweep() -> Result<(), WorkspaceError> {
        let swept = temporary().and_then(|base| Scratch::sweep(&base, PREFIX));
        swept.map(drop).map_err(unusable)
    }

    /// Keeps the folder that was made and returns its path; `None` means the current folder.
    pub fn keep(self) -> Option<PathBuf> {
        match self {
            Workspace::Here => None,
            Workspace::Fresh(folder) => Some(folder.keep()),
        }
    }
}

fn temporary() -> Result<Base, durable::Error> {
    Base::open(std::env::temp_dir(), "")
}

fn unusable(error: durable::Error) -> WorkspaceError {
    WorkspaceError::Folder { path: std::env::temp_dir(), source: io::Error::other(error) }
}

impl TempFolder {
    fn make(plan: &Folder) -> Result<Self, WorkspaceError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| WorkspaceError::Folder { path, source }
        };
        let created = temporary().and_then(|base| Scratch::create(&base, PREFIX));
        let folder = created.map_err(unusable)?;
        // Tools report paths with links resolved; compared with them, a path through a link looks
        // like another folder.
        let path = folder.path().canonicalize().map_err(at(folder.path()))?;
        for (name, text) in &plan.files {
            let file = path.join(&name.0);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            fs::write(&file, text).map_err(at(&file))?;
        }
        if plan.git
            && let Err(source) = commit_all(&path)
        {
            return Err(WorkspaceError::Git { path, source });
        }
        Ok(TempFolder { folder, path })
    }

    /// Where the folder is, with links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the folder and returns its path.
    pub fn keep(self) -> PathBuf {
        let _ = self.folder.keep();
        self.path
    }
}

const COMMITTER_NAME: &str = "Rungs";
const COMMITTER_EMAIL: &str = "rungs@example.com";
/// 2026-01-01 00:00 UTC, in seconds since 1970.
const COMMIT_TIME: i64 = 1_767_225_600;

/// Makes a repository with one commit that has the same id on every machine: fixed identity, fixed
/// date, and no settings of the person's.
fn commit_all(path: &Path) -> Result<(), git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").external_template(false).no_reinit(true);
    let repository = Repository::init_opts(path, &options)?;
    // Only the repository's own settings: a person's could change line endings and what is ignored.
    let mut config = git2::Config::open(&repository.path().join("config"))?;
    // The tools of a script commit too; they need an identity, and must not be asked for a
    // signature.
    config.set_str("user.name", COMMITTER_NAME)?;
    config.set_str("user.email", COMMITTER_EMAIL)?;
    config.set_bool("commit.gpgsign", false)?;
    repository.set_config(&config)?;
    let mut index = repository.index()?;
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    let author = Signature::new(COMMITTER_NAME, COMMITTER_EMAIL, &Time::new(COMMIT_TIME, 0))?;
    let parents: [&Commit; 0] = [];
    repository.commit(Some("HEAD"), &author, &author, "Start of the rehearsal", &tree, &parents)?;
    Ok(())
}

/// Why the folder of a script could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A file or folder could not be written.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The git repository could not be made.
    #[error("git repository in {}: {}", path.display(), source.message())]
    Git {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: git2::Error,
    },
}
