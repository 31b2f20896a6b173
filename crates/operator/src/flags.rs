//! How is the operator told what to do?

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use http::uri::Authority;

use crate::{kubernetes::WRITE_TIME, lease::Terms, logs::LogFormat, task::Allowed};

/// Runs TiKV clusters on Kubernetes: watches TikvCluster resources and does what they say.
#[derive(Clone, Debug, Parser)]
#[command(name = "tikv-operator", version)]
pub struct Flags {
    /// Namespaces to look after; all of them when not given. With namespaces, the operator needs
    /// no permission outside of them.
    #[arg(long = "namespace", env = "TIKV_OPERATOR_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,

    /// Label selector: look after the TikvClusters that it selects and leave all others alone.
    #[arg(long, env = "TIKV_OPERATOR_SELECTOR")]
    pub selector: Option<String>,

    /// Hosts (hooks.example, *.example), addresses and networks (10.1.0.0/16) that HTTP calls of tasks
    /// may reach. Without it they reach public addresses with https, and Services of their own
    /// namespace.
    #[arg(long, env = "TIKV_OPERATOR_TASK_HTTP_ALLOW", value_delimiter = ',', value_name = "HOST")]
    pub task_http_allow: Vec<Allowed>,

    /// Address on which /livez, /readyz and /metrics are served.
    #[arg(long, env = "TIKV_OPERATOR_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// Send all traffic to PD and to the status ports of stores to this host and port, with the
    /// Host header of the one that is meant: for an operator that runs where their names do not
    /// resolve.
    #[arg(long, env = "TIKV_OPERATOR_PD_THROUGH", value_name = "HOST:PORT", value_parser = host_port)]
    pub pd_through: Option<Authority>,

    /// Clusters worked on at the same time.
    #[arg(long, env = "TIKV_OPERATOR_CONCURRENCY", default_value_t = 16,
          value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,

    /// Disruptive steps (a pod or a volume deleted, a store or a PD member removed, the PD
    /// leadership moved) per cluster and hour. Deletion of a whole cluster is not limited.
    #[arg(long, env = "TIKV_OPERATOR_DISRUPTIONS_PER_CLUSTER", default_value_t = 60)]
    pub disruptions_per_cluster: u32,

    /// Disruptive steps per hour, all clusters together.
    #[arg(long, env = "TIKV_OPERATOR_DISRUPTIONS", default_value_t = 300)]
    pub disruptions: u32,

    /// Name of the Lease that decides which replica acts.
    #[arg(long, env = "TIKV_OPERATOR_LEASE", default_value = "tikv-operator")]
    pub lease: String,

    /// Namespace of the Lease; the operator's own when not given.
    #[arg(long, env = "POD_NAMESPACE")]
    pub lease_namespace: Option<String>,

    /// How long the lease is valid after a renewal, in whole seconds, such as 15s. Another replica
    /// takes over this long after the holder died.
    #[arg(long, env = "TIKV_OPERATOR_LEASE_DURATION", default_value = "15s", value_parser = whole_seconds)]
    pub lease_duration: Duration,

    /// The holder stops acting when it could not renew for this long.
    #[arg(long, env = "TIKV_OPERATOR_LEASE_DEADLINE", default_value = "10s", value_parser = seconds)]
    pub lease_deadline: Duration,

    /// Time between renewals.
    #[arg(long, env = "TIKV_OPERATOR_LEASE_RETRY", default_value = "2s", value_parser = seconds)]
    pub lease_retry: Duration,

    /// Form of the log.
    #[arg(long, env = "TIKV_OPERATOR_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,

    /// Level of the log (error, warn, info, debug, trace), or a filter by module.
    #[arg(long, env = "TIKV_OPERATOR_LOG", default_value = "info")]
    pub log: String,
}

impl Flags {
    /// The terms of the election, where they make sense together.
    pub fn terms(&self) -> anyhow::Result<Terms> {
        let terms = Terms {
            duration: self.lease_duration,
            deadline: self.lease_deadline,
            retry: self.lease_retry,
        };
        anyhow::ensure!(
            terms.retry < terms.deadline && terms.deadline < terms.duration,
            "--lease-retry must be shorter than --lease-deadline, and that shorter than \
             --lease-duration"
        );
        anyhow::ensure!(
            terms.retry + WRITE_TIME < terms.duration,
            "--lease-duration must be longer than --lease-retry by more than the {} s that a write \
             may take, or nothing would ever be written",
            WRITE_TIME.as_secs()
        );
        Ok(terms)
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis(1)),
        None => (text.strip_suffix('s').unwrap_or(text), Duration::from_secs(1)),
    };
    let number: u32 =
        number.parse().map_err(|_| format!("{text:?} is not a time such as 15s or 500ms"))?;
    if number == 0 { Err("must be longer than 0".to_owned()) } else { Ok(unit * number) }
}

/// A Lease keeps its duration in whole seconds: a follower that reads a shorter one than the holder
/// counts on would act beside it.
fn whole_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.subsec_nanos() == 0 {
        Ok(time)
    } else {
        Err("must be whole seconds, such as 15s: a Lease holds no fraction".to_owned())
    }
}

fn host_port(text: &str) -> Result<Authority, String> {
    let authority: Authority = text.parse().map_err(|_| format!("{text:?} is not a host:port"))?;
    match authority.port_u16() {
        Some(_) => Ok(authority),
        None => Err(format!("{text:?} has no port")),
    }
}

/// A flag, for the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// `--name`.
    pub name: String,
    /// The environment variable that sets it too.
    pub env: String,
    /// Its default, empty if it has none.
    pub default: String,
    /// What it does.
    pub help: String,
}

/// All flags, in order.
pub fn flags() -> Vec<FlagRow> {
    let command = <Flags as clap::CommandFactory>::command();
    let rows = command.get_arguments().filter(|arg| arg.get_env().is_some());
    rows.map(|arg| FlagRow {
        name: format!("--{}", arg.get_long().unwrap_or_default()),
        env: arg.get_env().map(|env| env.to_string_lossy().into_owned()).unwrap_or_default(),
        default: arg
            .get_default_values()
            .iter()
            .map(|value| value.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(","),
        help: arg
            .get_long_help()
            .or_else(|| arg.get_help())
            .map(ToString::to_string)
            .unwrap_or_default(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Flags, clap::Error> {
        Flags::try_parse_from(std::iter::once("tikv-operator").chain(args.iter().copied()))
    }

    #[test]
    fn defaults_hold_together() {
        let flags = parse(&[]).unwrap();
        assert!(flags.terms().is_ok());
        assert!(flags.namespaces.is_empty());
    }

    #[test]
    fn nonsense_is_refused_with_the_flag_named() {
        for (args, name) in [
            (["--lease-duration", "0s"], "--lease-duration"),
            (["--lease-duration", "15500ms"], "--lease-duration"),
            (["--lease-retry", "soon"], "--lease-retry"),
            (["--pd-through", "localhost"], "--pd-through"),
            (["--concurrency", "0"], "--concurrency"),
            (["--listen", "8080"], "--listen"),
        ] {
            let error = parse(&args).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        let fraction = parse(&["--lease-duration", "15500ms"]).unwrap_err().to_string();
        assert!(fraction.contains("whole seconds"), "{fraction}");
        let whole = parse(&["--lease-duration", "16000ms"]).unwrap();
        assert_eq!(whole.lease_duration, Duration::from_secs(16));
        assert!(parse(&["--lease-retry", "20s"]).unwrap().terms().is_err());
        let short = ["--lease-duration=6s", "--lease-deadline=5s", "--lease-retry=1s"];
        let short = parse(&short).unwrap().terms().unwrap_err().to_string();
        assert!(short.contains("--lease-duration") && short.contains("5 s"), "{short}");
    }

    #[test]
    fn namespaces_may_be_given_as_a_list_or_one_by_one() {
        let flags = parse(&["--namespace", "a,b", "--namespace", "c"]).unwrap();
        assert_eq!(flags.namespaces, ["a", "b", "c"]);
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_a_sentence() {
        let rows = flags();
        assert_eq!(rows.len(), 15);
        for row in rows {
            assert!(row.help.len() > 10 && !row.env.is_empty(), "{row:?}");
        }
    }
}
