//! The configuration: YAML that becomes types, or all that is wrong with it at once.

pub mod values;

macro_rules! config {
    ($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: $type:ty $(= $default:expr)?,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $name {
            $($(#[doc = $field_doc])+ pub $field: $type,)+
        }
    };
}
pub(crate) use config;
