//! Which processors are the servers' and which the load generator's, or why they share all.

use anyhow::bail;
use fanfare_loadgen_core::machine::cores::cores;
use fanfare_loadgen_core::machine::pin::Pinning;

use super::args::CompareArgs;
use super::contender::Contender;

/// Where servers and load generator run.
#[derive(Debug)]
pub(crate) enum Placement {
    /// On processors of their own, but for those of these names, which run already in nobody knows which process.
    Apart(Pinning, Vec<String>),
    /// On all of them, for this reason.
    Together(String),
}

impl Placement {
    /// Apart where that can be, unless it is not wanted: what runs already is moved only where that is asked for.
    ///
    /// # Errors
    /// Why not, where `--pin` asks for it.
    pub(crate) fn choose(args: &CompareArgs, contenders: &[Contender]) -> anyhow::Result<Self> {
        if args.no_pin {
            return Ok(Self::Together("--no-pin".to_owned()));
        }
        let running = contenders.iter().find(|it| it.is_running()).filter(|_| !args.pin);
        if let Some(running) = running {
            return Ok(Self::Together(format!("{} runs already, and --pin would move it", running.name)));
        }
        let pinning = Pinning::new().and_then(|pinning| pinning.check().map(|()| pinning));
        match pinning {
            Ok(pinning) => {
                let unknown = contenders.iter().filter(|it| it.is_beyond_reach());
                Ok(Self::Apart(pinning, unknown.map(|it| it.name.clone()).collect()))
            }
            Err(e) if args.pin => bail!(e),
            Err(e) => Ok(Self::Together(format!("{e:#}"))),
        }
    }

    pub(crate) fn pinning(&self) -> Option<&Pinning> {
        match self {
            Self::Apart(pinning, _) => Some(pinning),
            Self::Together(_) => None,
        }
    }

    /// How many processors a server sees that is started here.
    pub(crate) fn server_processors(&self) -> u32 {
        self.seen(|pinning| &pinning.servers)
    }

    /// How many the load generator sees.
    pub(crate) fn own_processors(&self) -> u32 {
        self.seen(|pinning| &pinning.own)
    }

    /// How many of a share are seen by who is pinned to it: no more than this process may use in all, where a control
    /// group allows less time than there are processors.
    fn seen(&self, share: fn(&Pinning) -> &[usize]) -> u32 {
        self.pinning().map_or_else(cores, |pinning| cores().min(share(pinning).len() as u32))
    }

    /// The sentence that a report has of it.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Apart(pinning, unknown) if unknown.is_empty() => pinning.sentence(),
            Self::Apart(pinning, unknown) => {
                format!(
                    "{}; not pinned, because the process is not known: {}",
                    pinning.sentence(),
                    unknown.join(", ")
                )
            }
            Self::Together(why) => format!("servers and load generator share all, not pinned: {why}"),
        }
    }
}
