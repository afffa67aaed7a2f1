//! Which processors are the servers' and which the load generator's, or why they share all.

use anyhow::bail;
use fanfare_loadgen_core::machine::cores::cores;
use fanfare_loadgen_core::machine::pin::Pinning;

use super::args::CompareArgs;
use super::contender::Contender;

/// Where servers and load generator run.
#[derive(Debug)]
pub(crate) enum Placement {
    /// On processors of their own.
    Apart(Pinning),
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
            Ok(pinning) => Ok(Self::Apart(pinning)),
            Err(e) if args.pin => bail!(e),
            Err(e) => Ok(Self::Together(format!("{e:#}"))),
        }
    }

    pub(crate) fn pinning(&self) -> Option<&Pinning> {
        match self {
            Self::Apart(pinning) => Some(pinning),
            Self::Together(_) => None,
        }
    }

    /// How many processors a server sees that is started here.
    pub(crate) fn server_processors(&self) -> u32 {
        self.pinning().map_or_else(cores, |pinning| pinning.servers.len() as u32)
    }

    /// How many the load generator sees.
    pub(crate) fn own_processors(&self) -> u32 {
        self.pinning().map_or_else(cores, |pinning| pinning.own.len() as u32)
    }

    /// The sentence that a report has of it.
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Apart(pinning) => pinning.sentence(),
            Self::Together(why) => format!("servers and load generator share all, not pinned: {why}"),
        }
    }
}
