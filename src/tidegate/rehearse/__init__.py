"""The rehearsal: a simulated crowd plays the whole sale, and a report says whether it would survive."""
