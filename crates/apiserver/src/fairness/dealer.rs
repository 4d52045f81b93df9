//! Shuffle sharding: which queues a flow may use (apiserver `util/shufflesharding`).

/// A hand is never larger: more would take more bits than a hash has.
const LARGEST_HAND: usize = 15;

/// So many bits of a hash are used at most.
pub(crate) const HASH_BITS: usize = 60;

/// How many bits of a hash it takes to deal a hand.
#[expect(clippy::cast_precision_loss, reason = "decks are small")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred at most")]
pub(crate) fn entropy_bits(deck: usize, hand: usize) -> usize {
    ((deck as f64).log2() * hand as f64).ceil() as usize
}

/// The queues of a flow, without allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hand {
    cards: [usize; LARGEST_HAND],
    size: usize,
}

impl Hand {
    /// Deals `size` different cards from a deck; the same hash gets the same hand.
    pub(crate) fn deal(mut hash: u64, deck: usize, size: usize) -> Self {
        let size = size.min(deck).min(LARGEST_HAND);
        let mut cards = [0; LARGEST_HAND];
        for (i, card) in cards.iter_mut().enumerate().take(size) {
            let left = (deck - i) as u64;
            *card = usize::try_from(hash % left).unwrap_or_default();
            hash /= left;
        }
        // What was drawn is a place among the cards left then; going back over earlier draws makes it a card.
        let drawn = cards;
        for (i, card) in cards.iter_mut().enumerate().take(size) {
            for earlier in drawn[..i].iter().rev() {
                if *card >= *earlier {
                    *card += 1;
                }
            }
        }
        Hand { cards, size }
    }

    /// The cards.
    pub(crate) fn cards(&self) -> &[usize] {
        &self.cards[..self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cards_differ_and_are_in_the_deck(hash: u64, deck in 1usize..300, size in 1usize..8) {
            let hand = Hand::deal(hash, deck, size);
            let mut cards = hand.cards().to_vec();
            prop_assert_eq!(cards.len(), size.min(deck));
            prop_assert!(cards.iter().all(|c| *c < deck));
            cards.sort_unstable();
            cards.dedup();
            prop_assert_eq!(cards.len(), size.min(deck));
        }
    }

    #[test]
    fn a_deal_reads_the_hash_as_upstream_does() {
        // 128 queues, hands of 6: remainders of the hash by 128, 127, …
        assert_eq!(Hand::deal(0, 128, 6).cards(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(Hand::deal(1, 128, 6).cards(), [1, 0, 2, 3, 4, 5]);
        assert_eq!(Hand::deal(128, 128, 3).cards(), [0, 2, 1]);
        assert_eq!(entropy_bits(128, 6), 42);
        assert_eq!(entropy_bits(64, 10), 60);
        assert_eq!(entropy_bits(64, 11), 66);
    }
}
