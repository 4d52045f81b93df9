//! Subjects: a user name and its groups.

use crate::{PkiError, malformed};
use der::Tag;
use der::asn1::{Any, ObjectIdentifier};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// A certificate subject as Kubernetes reads it: the common name is the user, organizations are groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// `CN`.
    pub common_name: String,
    /// Every `O`, in order.
    pub organizations: Vec<String>,
}

impl Subject {
    /// A user with groups.
    pub fn new(common_name: &str, organizations: &[&str]) -> Self {
        Subject {
            common_name: common_name.to_owned(),
            organizations: organizations.iter().map(|o| (*o).to_owned()).collect(),
        }
    }

    pub(crate) fn to_name(&self) -> Result<Name, PkiError> {
        let mut rdns = RdnSequence::default();
        for organization in &self.organizations {
            rdns.push(rdn(ORGANIZATION, organization)?);
        }
        if !self.common_name.is_empty() {
            rdns.push(rdn(COMMON_NAME, &self.common_name)?);
        }
        Ok(Name::hazmat_from_rdn_sequence(rdns))
    }

    /// Reads a name; other attributes are passed over.
    pub fn from_name(name: &Name) -> Self {
        let mut subject = Subject::default();
        for attribute in name.iter() {
            let text = String::from_utf8_lossy(attribute.value.value()).into_owned();
            match attribute.oid {
                COMMON_NAME => subject.common_name = text,
                ORGANIZATION => subject.organizations.push(text),
                _ => {}
            }
        }
        subject
    }
}

fn rdn(oid: ObjectIdentifier, text: &str) -> Result<RelativeDistinguishedName, PkiError> {
    let value = Any::new(Tag::Utf8String, text.as_bytes()).map_err(malformed("subject"))?;
    RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }]).map_err(malformed("subject"))
}
