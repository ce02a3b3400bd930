//! What a module declares, and how its functions are lowered.
//!
//! Owns: the accepted proposals, the declaration (everything before the code section), the
//! lowering of a function body for the baseline tier, the donors' and the optimizing tier's
//! bytes. May not know: engines, instances, Node.

mod adapter;
mod adapter_body;
mod catching;
mod check;
mod compared;
mod declaration;
mod donor;
mod element;
mod features;
mod import;
mod ingested;
mod legacy;
mod lower;
mod names;
mod origin;
mod segment;
mod signature;
mod skeleton;
mod temporaries;
mod types;
mod whole;

pub use adapter::Adapter;
pub use adapter_body::View;
pub use check::{BodyTier, CheckedBody, Handlers, check_body, has_handler};
pub use declaration::{Declaration, Extern, ExternType};
pub use donor::Undeclared;
pub use element::{ActiveElements, ElementItem, SplitElements, split_elements};
pub use features::{LOWERING_VERSION, wasm_features, wasmer_features};
pub use ingested::{ELEMENT_SECTION, Ingested};
pub use lower::{LoweredBody, lower_body};
pub use names::Names;
pub use origin::{BodyOrigin, Site, WholeOrigin};
pub use segment::{ActiveData, ActiveSegment, Offset, split_data};
pub use signature::{THUNKS, encoded, is_plain, letter, signature_text, type_of_letter};
pub use skeleton::{Skeleton, SkeletonBuilder};
pub use types::{TABLES_PER_FUNCTION, Types};
pub use whole::Whole;
