//! A scenario with its arguments, and the steps in which it is repeated.

use anyhow::{Context as _, bail, ensure};

use super::contender::Contender;

/// What is measured: a scenario, some arguments, and steps that differ in one number.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) scenario: String,
    /// What its command takes besides.
    arguments: Vec<String>,
    steps: Vec<Step>,
    /// Who takes part, if not all.
    only: Option<Vec<String>>,
}

/// One repetition of a scenario.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    /// With so many connections.
    Connections(u32),
    /// As its arguments say.
    Once,
    /// With so many publications a second.
    Rate(f64),
    /// With so many publications a second, and so many threads that read.
    RateAndReaders(f64, u32),
}

/// At up to so many publications a second most of what a delivery costs is to wake up who reads it, which the one
/// pays who sends: there the number of threads that read decides who looks cheap.
const LOW_RATE_MAX: f64 = 100.0;

/// What a scenario is compared with unless its arguments say otherwise: sizes that one machine bears.
const DEFAULTS: &[(&str, &[&str])] = &[
    ("fanout", &["--subscribers", "1000", "--rates", "100,1000,3000"]),
    ("rooms", &["--rates", "10000"]),
    ("mesh", &["--rates", "1000"]),
    ("idle", &["--connections", "1000,4000,8000"]),
    ("connect", &[]),
    ("stuck", &["--subscribers", "1000", "--rates", "500"]),
    ("resume", &[]),
    ("ingest", &[]),
    ("ping", &[]),
];

impl Task {
    /// Reads scenarios as the command line has them, with the rates that hold for those without their own. Low rates
    /// are measured with one reader and with `readers`.
    ///
    /// # Errors
    /// Names a scenario that does not exist, or a number that is none.
    pub(crate) fn parse_all(texts: &[String], rates: &[f64], readers: u32) -> anyhow::Result<Vec<Self>> {
        let mut tasks = Vec::new();
        for text in texts {
            if text.trim().contains(char::is_whitespace) {
                tasks.push(Self::parse(text, rates, readers)?);
            } else {
                for name in text.split(',') {
                    tasks.push(Self::parse(name, rates, readers)?);
                }
            }
        }
        Ok(tasks)
    }

    fn parse(text: &str, rates: &[f64], readers: u32) -> anyhow::Result<Self> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let scenario = words.next().context("--scenario is empty")?;
        let Some((_, defaults)) = DEFAULTS.iter().find(|(name, _)| *name == scenario) else {
            let names: Vec<&str> = DEFAULTS.iter().map(|(name, _)| *name).collect();
            bail!("there is no scenario \"{scenario}\"; there are: {}", names.join(", "));
        };
        let mut arguments: Vec<String> = words.collect();
        let searches = arguments.iter().any(|word| word == "--find-max");
        for default in defaults.chunks(2) {
            let [name, value] = default else { unreachable!("names and values") };
            let same: &[&str] = match *name {
                "--rates" if searches => continue,
                "--rates" => &["--rates", "--rate"],
                name => &[name],
            };
            if !given(&arguments, same) {
                let rates = rates.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
                let value = if *name == "--rates" && !rates.is_empty() { rates } else { (*value).into() };
                arguments.extend([(*name).to_owned(), value]);
            }
        }
        ensure!(
            !given(&arguments, &["--workers"]),
            "{scenario} --workers: a comparison starts each server itself; fanfare-4 is the target with 4 workers"
        );
        let only = take(&mut arguments, "--targets", |name: String| name)?;
        let mut rates = take(&mut arguments, "--rates", Step::Rate)?;
        if readers > 1 && !given(&arguments, &["--threads"]) {
            rates =
                rates.map(|rates| rates.into_iter().flat_map(|rate| rate.with_readers(readers)).collect());
        }
        let connections = take(&mut arguments, "--connections", Step::Connections)?;
        let steps = rates.or(connections).unwrap_or_else(|| vec![Step::Once]);
        Ok(Self { scenario, arguments, steps, only })
    }

    /// Whether a contender takes part.
    pub(crate) fn is_for(&self, contender: &Contender) -> bool {
        self.is_wanted(contender) && !self.leaves_out(contender)
    }

    /// Whether a contender would have less to do than others: one that confirms no subscription has none to wait for.
    fn leaves_out(&self, contender: &Contender) -> bool {
        self.scenario == "connect" && !contender.confirms_subscriptions()
    }

    /// Why some take no part who were wanted, if there are any.
    pub(crate) fn left_out(&self, contenders: &[Contender]) -> String {
        let left_out = contenders.iter().filter(|it| self.is_wanted(it) && self.leaves_out(it));
        let names: Vec<&str> = left_out.map(|it| it.name.as_str()).collect();
        match names.as_slice() {
            [] => String::new(),
            names => format!("left out, because they confirm no subscription: {}", names.join(", ")),
        }
    }

    fn is_wanted(&self, contender: &Contender) -> bool {
        self.only.as_ref().is_none_or(|only| contender.is_meant(only))
    }

    /// Refuses names for whom this is that do not take part.
    ///
    /// # Errors
    /// Names the first of them.
    pub(crate) fn check_names(&self, contenders: &[Contender]) -> anyhow::Result<()> {
        let takes_part = |name: &String| contenders.iter().any(|it| it.name == *name);
        let stranger = self.only.iter().flatten().find(|name| !takes_part(name));
        let why =
            |name| format!("{} --targets {name}: it does not take part in this comparison", self.scenario);
        stranger.map_or(Ok(()), |name| Err(anyhow::Error::msg(why(name))))
    }

    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The command line of one step in a round, counted from 1: all who take part have rooms with the same order of
    /// members, and another one in each round.
    pub(crate) fn command(&self, step: &Step, round: u32) -> Vec<String> {
        let number = match step {
            Step::Connections(count) => vec!["--connections".to_owned(), count.to_string()],
            Step::Once => Vec::new(),
            Step::Rate(rate) => vec!["--rate".to_owned(), rate.to_string()],
            Step::RateAndReaders(rate, readers) => {
                ["--rate", &rate.to_string(), "--threads", &readers.to_string()].map(str::to_owned).to_vec()
            }
        };
        let has_order = given(&self.arguments, &["--seed", "--round-robin"]);
        let seed = (self.scenario == "rooms" && !has_order).then(|| ["--seed".to_owned(), round.to_string()]);
        let seed = seed.into_iter().flatten().collect();
        [vec![self.scenario.clone()], self.arguments.clone(), number, seed].concat()
    }

    /// The scenario as it was asked for.
    pub(crate) fn title(&self) -> String {
        super::redact::secrets(&[vec![self.scenario.clone()], self.arguments.clone()].concat().join(" "))
    }

    /// What one step is called in a line of progress.
    pub(crate) fn label(&self, step: &Step) -> String {
        match step {
            Step::Once => self.title(),
            step => format!("{} {}", self.scenario, step.label()),
        }
    }
}

impl Step {
    /// At a low rate twice: with one reader and with so many.
    fn with_readers(self, readers: u32) -> Vec<Self> {
        match self {
            Self::Rate(rate) if rate <= LOW_RATE_MAX => {
                [1, readers].map(|readers| Self::RateAndReaders(rate, readers)).to_vec()
            }
            step => vec![step],
        }
    }

    /// How the report calls it; empty if there is but one.
    pub(crate) fn label(&self) -> String {
        let show = |number| fanfare_loadgen_core::report::unit::Unit::Count.show(number);
        match self {
            Self::Connections(count) => format!("{} connections", show(f64::from(*count))),
            Self::Once => String::new(),
            Self::Rate(rate) => format!("{} publications/s", show(*rate)),
            Self::RateAndReaders(rate, 1) => format!("{} publications/s, 1 reader thread", show(*rate)),
            Self::RateAndReaders(rate, readers) => {
                format!("{} publications/s, {readers} reader threads", show(*rate))
            }
        }
    }
}

/// Whether one of these options is among the arguments.
fn given(arguments: &[String], names: &[&str]) -> bool {
    arguments.iter().any(|word| names.contains(&word.split('=').next().unwrap_or(word)))
}

/// Removes an option with its list of values from the arguments.
fn take<N: std::str::FromStr, V>(
    arguments: &mut Vec<String>,
    name: &str,
    value: fn(N) -> V,
) -> anyhow::Result<Option<Vec<V>>> {
    let Some(at) = arguments.iter().position(|word| word == name) else { return Ok(None) };
    ensure!(at + 1 < arguments.len(), "{name} needs values, separated by commas");
    let numbers = arguments.drain(at..at + 2).nth(1).expect("just counted");
    let read = |number: &str| number.parse().ok().map(value);
    let values: Option<Vec<V>> = numbers.split(',').map(read).collect();
    values.map(Some).with_context(|| format!("{name} {numbers}: numbers are expected, separated by commas"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(texts: &[&str], rates: &[f64]) -> anyhow::Result<Vec<Task>> {
        tasks_with_readers(texts, rates, 1)
    }

    fn tasks_with_readers(texts: &[&str], rates: &[f64], readers: u32) -> anyhow::Result<Vec<Task>> {
        Task::parse_all(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>(), rates, readers)
    }

    #[test]
    fn low_rates_are_measured_with_one_reader_and_with_all() {
        let tasks = tasks_with_readers(&["fanout", "rooms --rates 50 --threads 3"], &[], 4).expect("valid");
        let steps = |task: &Task| task.steps().iter().map(|it| it.label()).collect::<Vec<_>>();
        let expected = [
            "100 publications/s, 1 reader thread",
            "100 publications/s, 4 reader threads",
            "1,000 publications/s",
            "3,000 publications/s",
        ];
        assert_eq!(steps(&tasks[0]), expected);
        let command = tasks[0].command(&tasks[0].steps()[1], 1).join(" ");
        assert_eq!(command, "fanout --subscribers 1000 --rate 100 --threads 4");
        assert_eq!(steps(&tasks[1]), ["50 publications/s"], "its own threads are what counts");
    }

    #[test]
    fn names_take_their_defaults_and_the_rates_that_hold_for_all() {
        let tasks = tasks(&["fanout,idle"], &[5.0]).expect("valid");
        let commands: Vec<String> =
            tasks[0].steps().iter().map(|step| tasks[0].command(step, 1).join(" ")).collect();
        assert_eq!(commands, ["fanout --subscribers 1000 --rate 5"]);
        let idle = tasks[1].command(&tasks[1].steps()[1], 1).join(" ");
        assert_eq!(idle, "idle --connections 4000");
    }

    #[test]
    fn arguments_of_a_scenario_go_before_everything_else() {
        let tasks = tasks(&["fanout --subscribers 3 --rates 1,2", "rooms --rate 7 --topics 2"], &[5.0])
            .expect("valid");
        assert_eq!(tasks[0].steps(), [Step::Rate(1.0), Step::Rate(2.0)]);
        assert_eq!(tasks[0].title(), "fanout --subscribers 3");
        assert_eq!(tasks[1].command(&tasks[1].steps()[0], 3).join(" "), "rooms --rate 7 --topics 2 --seed 3");
    }

    #[test]
    fn rooms_have_another_order_in_each_round_unless_they_say_one() {
        let tasks = tasks(&["rooms", "rooms --seed 9", "rooms --round-robin"], &[]).expect("valid");
        let command = |n: usize, round| tasks[n].command(&tasks[n].steps()[0], round).join(" ");
        assert_eq!(command(0, 1), "rooms --rate 10000 --seed 1");
        assert_eq!(command(0, 2), "rooms --rate 10000 --seed 2");
        assert_eq!(
            (tasks[0].title(), tasks[0].label(&tasks[0].steps()[0])),
            ("rooms".to_owned(), "rooms 10,000 publications/s".to_owned())
        );
        assert_eq!(command(1, 2), "rooms --seed 9 --rate 10000");
        assert_eq!(command(2, 2), "rooms --round-robin --rate 10000");
    }

    #[test]
    fn a_search_for_the_highest_rate_has_one_step() {
        let tasks = tasks(&["fanout --find-max"], &[]).expect("valid");
        assert_eq!(tasks[0].steps(), [Step::Once]);
        assert_eq!(tasks[0].title(), "fanout --find-max --subscribers 1000");
    }

    #[test]
    fn a_scenario_can_be_for_some_only() {
        let tasks = tasks(&["resume --targets fanfare,nats", "connect"], &[]).expect("valid");
        let is_for = |task: &Task, name: &str| task.is_for(&name.parse().expect("a name"));
        assert!(is_for(&tasks[0], "nats") && !is_for(&tasks[0], "floor") && is_for(&tasks[1], "floor"));
        assert_eq!(tasks[0].title(), "resume");
        let contenders = ["fanfare", "floor"].map(|name| name.parse().expect("a name"));
        assert!(tasks[1].check_names(&contenders).is_ok());
        let error = tasks[0].check_names(&contenders).expect_err("no nats").to_string();
        assert!(error.starts_with("resume --targets nats: it does not take part"), "{error}");
    }

    #[test]
    fn who_confirms_no_subscription_takes_no_part_in_connects() {
        let tasks = tasks(&["connect", "fanout"], &[]).expect("valid");
        let contenders =
            ["fanfare", "fanfare-raw", "floor", "nchan"].map(|name| name.parse().expect("a name"));
        let take_part = |task: &Task| contenders.iter().filter(|it| task.is_for(it)).count();
        assert_eq!((take_part(&tasks[0]), take_part(&tasks[1])), (2, 4));
        let why = "left out, because they confirm no subscription: fanfare-raw, nchan";
        assert_eq!(
            (tasks[0].left_out(&contenders).as_str(), tasks[1].left_out(&contenders).as_str()),
            (why, "")
        );
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (text, why) in [
            ("fanin", "fanin"),
            ("rooms --workers 4", "fanfare-4 is the target with 4 workers"),
            ("rooms --rates", "needs values"),
            ("rooms --rates 1,x", "1,x"),
        ] {
            let error = tasks(&[text], &[]).expect_err(text).to_string();
            assert!(error.contains(why), "{error} should name {why}");
        }
    }
}
