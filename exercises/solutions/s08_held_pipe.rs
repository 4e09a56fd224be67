use std::process::{ExitStatus, Stdio};
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

/// How long the output may be read after the end of the shell.
const DRAIN: std::time::Duration = std::time::Duration::from_millis(200);

/// Kills all processes of the group that this process leads.
fn kill_group(leader: u32) {
    use rustix::process::{Pid, Signal, kill_process_group};
    if let Some(leader) = Pid::from_raw(leader.cast_signed()) {
        let _ = kill_process_group(leader, Signal::KILL);
    }
}

/// The group of a command. It is killed when this is dropped, in whatever way that happens.
struct Group(u32);

impl Drop for Group {
    fn drop(&mut self) {
        kill_group(self.0);
    }
}

/// Runs a command: how its shell ended, and what was printed until then.
async fn run(command: &str) -> std::io::Result<(ExitStatus, String)> {
    let mut child = Command::new("bash")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let _group = child.id().map(Group);
    let (mut output, mut stdout) = (vec![], child.stdout.take());
    let status = loop {
        let Some(pipe) = &mut stdout else { break child.wait().await? };
        tokio::select! {
            // Read meanwhile, or a full pipe would keep the shell from ending.
            read = pipe.read_buf(&mut output) => if read? == 0 { stdout = None },
            status = child.wait() => break status?,
        }
    };
    // What the shell has printed is in the pipe by now; whoever else holds it is not waited for.
    if let Some(mut pipe) = stdout {
        let _ = timeout(DRAIN, pipe.read_to_end(&mut output)).await;
    }
    Ok((status, String::from_utf8_lossy(&output).into_owned()))
}
