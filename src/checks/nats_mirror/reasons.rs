//! Why a pair of streams is not as it should be: the closed list of reasons, each with advice.

use crate::clients::reasons;
use crate::domain::observation::Reason;

/// Clients can write to neither stream.
pub static NO_WRITER: Reason = Reason::new(
    "no_writer",
    "Clients cannot write in either region: bring the origin back, or promote the mirror (docs/nats.md).",
);
/// No majority of a stream's servers confirms its answer.
pub static NO_QUORUM: Reason = Reason::new(
    "no_quorum",
    "Too few of the stream's servers are up and connected: bring them back before you change either stream.",
);
/// The stream refuses messages because it is full.
pub static STREAM_FULL: Reason =
    Reason::new("stream_full", "The stream refuses new messages: raise the limits, or remove what is not needed.");
/// The JetStream API does not answer, and nobody accepts messages for the stream.
pub static NOBODY_LISTENS: Reason = Reason::new(
    "nobody_listens",
    "Nobody accepts messages on the probe_subject: are the stream's servers up, and does the stream have a leader?",
);
/// The JetStream API does not answer, but the stream accepts messages.
pub static API_ALONE_SILENT: Reason = Reason::new(
    "api_alone_silent",
    "The stream accepts messages, so clients are not affected: check the JetStream API's load and this account's rights.",
);
/// Clients can write to both streams.
pub static BOTH_WRITABLE: Reason = Reason::new(
    "both_writable",
    "Fence one side now, before clients write to both: remove its subjects or seal the stream.",
);
/// The two streams hold different messages under the same sequence.
pub static DIVERGED: Reason = Reason::new(
    "diverged",
    "Both sides have messages that the other lacks: stop writers on one side, keep both streams, reconcile by hand.",
);
/// The origin does not exist.
pub static ORIGIN_STREAM_MISSING: Reason =
    Reason::new("origin_stream_missing", "Was the stream deleted or renamed? Check the stream's name and the domain.");
/// The mirror does not exist.
pub static MIRROR_STREAM_MISSING: Reason =
    Reason::new("mirror_stream_missing", "There is no DR copy. Create the mirror; it copies from the beginning.");
/// The mirror mirrors something else.
pub static MIRROR_OF_OTHER_STREAM: Reason =
    Reason::new("mirror_of_other_stream", "Correct the mirror's origin, or the stream that this check names.");
/// The DR stream is fed by `sources`.
pub static SOURCED_STREAM: Reason = Reason::new(
    "sourced_stream",
    "A stream with `sources` cannot be compared with its origin: nothing is proven. Use a mirror.",
);
/// The origin was deleted and created again.
pub static ORIGIN_RECREATED: Reason = Reason::new(
    "origin_recreated",
    "Look at both streams first: the mirror may be the only copy. Back it up, then create a new mirror (docs/nats.md).",
);
/// The messages of the mirror are not those of the origin.
pub static NOT_SAME_STREAM: Reason = Reason::new(
    "not_same_stream",
    "Did the origin lose its newest messages? The mirror may be the only copy: back it up, then create a new one (docs/nats.md).",
);
/// Nothing proves whether the mirror is a copy of this origin, or of an earlier one.
pub static IDENTITY_UNPROVEN: Reason = Reason::new(
    "identity_unproven",
    "Compare both sides by hand (docs/nats.md). If the mirror is older than its origin: back it up and create a new one.",
);
/// The mirror lacks messages although it has passed them.
pub static COPY_INCOMPLETE: Reason = Reason::new(
    "copy_incomplete",
    "Was the mirror purged, or created with a later start? Are its limits tighter? Unless it is promoted, create it again.",
);
/// The mirror holds less than before, and the origin cannot be asked what is missing.
pub static COPY_SHRUNK: Reason = Reason::new(
    "copy_shrunk",
    "Was the mirror purged, or was DR restored from a backup? The origin's next answer will show what is missing.",
);
/// The mirror's limits are tighter than its origin's.
pub static TIGHTER_LIMITS: Reason = Reason::new(
    "tighter_limits",
    "Give the mirror the origin's limits or wider ones: it can now delete what it must keep.",
);
/// The origin is about to refuse messages.
pub static NEARLY_FULL: Reason = Reason::new(
    "nearly_full",
    "At its limit, the stream refuses new messages: raise the limits, or remove what is not needed.",
);
/// Mirroring a work queue empties it.
pub static WORK_QUEUE: Reason = Reason::new(
    "work_queue",
    "Mirroring a work queue takes its messages away from its consumers: use another retention.",
);

/// Both sides are the same stream.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "Origin and mirror are the same stream: do both connections lead to the same server, or has a name failed over?",
);
