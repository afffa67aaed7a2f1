//! What the machine, or the container, gives the process.

use std::fs::read_to_string;
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Powers of two to ask for, where a system refuses the most that it names: macOS names no bound, and has one.
const FILES_TRIED: RangeInclusive<u32> = 10..=20;

/// Files that the process may have open, once that is raised as far as it may be; `None` where it cannot be.
pub(crate) fn raise_open_files_max() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let most = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let (current, maximum) = (most(limit.current), most(limit.maximum));
    if current >= maximum {
        return Some(maximum);
    }
    let between = FILES_TRIED.rev().map(|bits| 1 << bits).filter(|files| (current..maximum).contains(files));
    let mut wanted = std::iter::once(limit.maximum).chain(between.map(Some));
    let raised = wanted.find(|&current| setrlimit(Resource::Nofile, Rlimit { current, ..limit }).is_ok())?;
    Some(most(raised))
}

/// Bytes of memory that the process may take: the machine's, or less where a control group says so; `None`
/// where nothing can be read. `root` is `/`.
pub fn memory_bytes(root: &Path) -> Option<u64> {
    let limits = groups(root).into_iter().flat_map(|group| group.limits());
    limits.chain(machine_bytes(root)).min()
}

/// The machine's own memory.
fn machine_bytes(root: &Path) -> Option<u64> {
    let info = read_to_string(root.join("proc/meminfo")).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A control group that the process is in.
#[derive(Debug)]
struct ControlGroup {
    /// Where its hierarchy is mounted.
    mount: PathBuf,
    /// The group's names below that, from the top.
    path: Vec<PathBuf>,
    /// The file that holds the limit.
    file: &'static str,
}

/// The groups that bound memory: of version 2, of version 1, or both where a system is between the two.
fn groups(root: &Path) -> Vec<ControlGroup> {
    let Ok(list) = read_to_string(root.join("proc/self/cgroup")) else { return Vec::new() };
    list.lines().flat_map(|line| group(root, line)).collect()
}

/// What a line of `/proc/self/cgroup` names: `0::/path` or `4:memory:/path`.
fn group(root: &Path, line: &str) -> Vec<ControlGroup> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return Vec::new() };
    // A group that is not below our own namespace's begins with "..".
    let names = Path::new(path).components().filter_map(|part| match part {
        Component::Normal(name) => Some(PathBuf::from(name)),
        _ => None,
    });
    let path: Vec<_> = names.collect();
    let at = |mount: &str, file| ControlGroup { mount: root.join(mount), path: path.clone(), file };
    match controllers {
        "" => vec![at("sys/fs/cgroup", "memory.max"), at("sys/fs/cgroup/unified", "memory.max")],
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            vec![at("sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        }
        _ => Vec::new(),
    }
}

impl ControlGroup {
    /// The limits of the group and of all above it. In a container only the mount itself may be there: it
    /// is the container's own group, and its name is that of a path outside.
    fn limits(&self) -> Vec<u64> {
        let depths = 0..=self.path.len();
        let directories =
            depths.map(|depth| self.path[..depth].iter().fold(self.mount.clone(), |a, b| a.join(b)));
        // "max", in version 2, is no number and no limit.
        let limits =
            directories.filter_map(|at| read_to_string(at.join(self.file)).ok()?.trim().parse().ok());
        limits.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up root, which goes with it.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = std::env::temp_dir().join(format!("fanfare-{}-{name}", std::process::id()));
            for (path, content) in files {
                let path = root.join(path);
                std::fs::create_dir_all(path.parent().expect("it is in a directory"))
                    .expect("it can be made");
                std::fs::write(path, content).expect("it can be written");
            }
            Self(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let raised = raise_open_files_max();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(raised, limit.current);
        assert!(!cfg!(target_os = "linux") || limit.current == limit.maximum, "{limit:?}");
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16384000 kB\nMemFree:        1000 kB\n");
    const MACHINE: u64 = 16_384_000 * 1024;
    /// What version 1 says where there is no limit.
    const NO_LIMIT: &str = "9223372036854771712\n";

    #[test]
    fn the_lowest_limit_of_all_groups_above_counts() {
        let cgroup = ("proc/self/cgroup", "0::/system.slice/fanfare.service\n");
        let v1 = ("proc/self/cgroup", "12:cpu,cpuacct:/x\n4:memory:/docker/abc\n1:name=systemd:/x\n");
        for (name, files, expected) in [
            ("none", vec![MEMINFO], MACHINE),
            (
                "own",
                vec![
                    MEMINFO,
                    cgroup,
                    ("sys/fs/cgroup/system.slice/fanfare.service/memory.max", "268435456\n"),
                ],
                256 << 20,
            ),
            (
                "above",
                vec![
                    MEMINFO,
                    cgroup,
                    ("sys/fs/cgroup/system.slice/memory.max", "134217728\n"),
                    ("sys/fs/cgroup/system.slice/fanfare.service/memory.max", "max\n"),
                ],
                128 << 20,
            ),
            ("unlimited", vec![MEMINFO, cgroup, ("sys/fs/cgroup/system.slice/memory.max", "max\n")], MACHINE),
            (
                "container",
                vec![MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1048576\n")],
                1 << 20,
            ),
            (
                "outside",
                vec![
                    MEMINFO,
                    ("proc/self/cgroup", "0::/../other\n"),
                    ("sys/fs/cgroup/memory.max", "2097152\n"),
                ],
                2 << 20,
            ),
            (
                "version1",
                vec![
                    MEMINFO,
                    v1,
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT),
                    ("sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes", "536870912\n"),
                ],
                512 << 20,
            ),
            (
                "version1-container",
                vec![MEMINFO, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n")],
                64 << 20,
            ),
            (
                "version1-unlimited",
                vec![MEMINFO, v1, ("sys/fs/cgroup/memory/memory.limit_in_bytes", NO_LIMIT)],
                MACHINE,
            ),
        ] {
            let root = Root::new(name, &files);
            assert_eq!(memory_bytes(&root.0), Some(expected), "{name}");
        }
        assert_eq!(memory_bytes(Path::new("/nowhere/at/all")), None);
    }
}
