//! Does anything acknowledged get lost when stores are killed at any moment?

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::tikv::cluster::{Cluster, PATIENCE, QUICK};

/// A stream of numbers that look random; the seed is printed so that a failure can be told apart.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[test]
fn kill_9_of_any_and_of_all_stores_loses_nothing_acknowledged() {
    let mut cluster = Cluster::start(3);
    let books = cluster.dir.path().join("books.jsonl");
    let words = format!(
        "continuous --prefix kills --seconds 30 --rate 60 --patience {PATIENCE} --books {}",
        books.display()
    );
    let mut command = cluster.check_command(&words);
    let writer = std::thread::spawn(move || command.output().unwrap());
    let mut dice = Dice::new();
    let mut rounds = 0;
    while rounds < 8 {
        std::thread::sleep(Duration::from_millis(500 + dice.below(3_500)));
        let victims: Vec<usize> = if dice.below(3) == 0 {
            vec![0, 1, 2]
        } else {
            vec![usize::try_from(dice.below(3)).unwrap()]
        };
        for victim in &victims {
            cluster.kill_9(*victim);
        }
        std::thread::sleep(Duration::from_millis(dice.below(500)));
        for victim in victims {
            cluster.start_store(victim);
        }
        rounds += 1;
    }
    let done = writer.join().unwrap();
    let summary: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&done.stderr)));
    println!("{summary}");
    assert!(done.status.success(), "{summary}");
    assert_eq!((summary["lost"].as_u64(), summary["unreadable"].as_u64()), (Some(0), Some(0)));
    assert!(summary["acknowledged_puts"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn a_minority_of_stores_acknowledges_nothing() {
    let mut cluster = Cluster::only_pd();
    // Five seconds in which a leader may think that it still leads.
    cluster.config = QUICK.replace("\"200ms\"", "\"500ms\"");
    for _ in 0..3 {
        cluster.add_store();
    }
    cluster.wait_replicated(3);
    cluster.write("before", 26);
    // The one that leads most is left: for a moment it does not know that it is alone.
    let left = (0..3).max_by_key(|index| cluster.leaders(*index)).unwrap();
    let others: Vec<usize> = (0..3).filter(|index| *index != left).collect();
    for index in &others {
        cluster.kill_9(*index);
    }
    let done = cluster.check("write --prefix alone --count 26 --patience 6");
    assert!(!done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let summary: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(summary["written"], 0, "{summary}");
    cluster.start_store(others[0]);
    let (complete, summary) = cluster.verify("before", 26, PATIENCE);
    assert!(complete, "{summary}");
}
