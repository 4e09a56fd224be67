// # One of four letters is bad
//
// predict, level 3, 20 minutes. Read: crates/mailbox/src/deliveries.rs
//
// Four letters arrive in ann's mailbox: 1, 2, 3 and 4. The text of letter 3 makes every request
// fail for good. Each of ann's turns begins with `receive`. If letter 3 is among the letters that
// she gets, the turn is withdrawn, so nothing is in flight afterwards and nothing is acknowledged.
// Otherwise the turn ends well, and the letters of this turn are acknowledged.
//
// Say which letters each `receive` delivers, turn by turn, until nothing is left, and in which turn
// letter 3 is reported as a dead letter (the turns count from 1).
//
// Run: cargo run -p rungs-exercises -- run s09_poison

/// The letters that each turn gets, such as `&[&[1, 2], &[3]]`.
const DELIVERED: &[&[u64]] = &[];
/// The turn whose `receive` reports letter 3 as dead.
const DEAD_IN_TURN: usize = 0;

mod tests {
    use super::*;
    use rungs_mailbox::{Letter, Mailbox};
    use std::collections::BTreeSet;

    /// What really happens: what each turn gets, and the turn in which a letter is dead.
    fn happens() -> (Vec<Vec<u64>>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let folder = durable::Folder::open(folder.path(), "mail").unwrap();
        let mut mailbox = Mailbox::open(&folder, "ann").unwrap();
        for n in 1..=4 {
            mailbox.put(Letter::new("bob", if n == 3 { "bad" } else { "good" })).unwrap();
        }
        let (mut delivered, mut dead_in) = (vec![], 0);
        while mailbox.has_mail(&BTreeSet::new()).unwrap() {
            let received = mailbox.receive(&BTreeSet::new()).unwrap();
            delivered.push(received.letters.iter().map(|letter| letter.id.number).collect());
            if !received.dead.is_empty() {
                dead_in = delivered.len();
            }
            if !received.letters.iter().any(|letter| letter.text == "bad") {
                let ids = received.letters.iter().map(|letter| letter.id).collect();
                mailbox.ack(&ids).unwrap();
            }
            assert!(delivered.len() < 50, "it has an end");
        }
        (delivered, dead_in)
    }

    #[test]
    fn the_first_turns() {
        let begins = DELIVERED.len() >= 2 && DELIVERED[..2] == happens().0[..2];
        assert!(
            begins,
            "not so. How often are letters delivered together before any is suspected?"
        );
    }

    #[test]
    fn the_number_of_turns() {
        assert!(
            DELIVERED.len() == happens().0.len(),
            "not so. Letters that were given up together come again in smaller parts, and nothing \
             else meanwhile; a part that is acknowledged is settled"
        );
    }

    #[test]
    fn every_turn() {
        let happens = happens().0;
        let same = |(i, letters): &(usize, &Vec<u64>)| DELIVERED.get(*i) == Some(&&letters[..]);
        let right = happens.iter().enumerate().take_while(same).count();
        assert!(
            right == happens.len() && right == DELIVERED.len(),
            "{right} turns are right, then it goes differently. `due` looks at three numbers of a \
             letter: how often it was delivered, together with how many the last time, and how \
             often it was given up alone"
        );
    }

    #[test]
    fn the_dead_letter() {
        assert!(
            DEAD_IN_TURN == happens().1,
            "not so. A letter is dead when it was delivered three times and given up alone twice; \
             the next `receive` says so"
        );
    }
}
