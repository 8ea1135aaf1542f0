//! The appendix: which part of a report may serve as evidence for what auditors ask.

use super::document::Document;

/// What auditors ask, and the parts of the report that may help to answer it.
const ROWS: [[&str; 3]; 4] = [
    [
        "ISO 22301, clause 8.5 (exercise programme) and 9.1 (monitoring, measurement)",
        "Drills; recoveries against their targets; time in each status",
        "That exercises were planned, done and measured. Not that the plans fit the organisation.",
    ],
    [
        "SOC 2, criterion A1.3 (recovery plan procedures are tested)",
        "Drills done in the period, each with its own report; gaps and remediation",
        "That recoveries of the named components were tested, with measured results.",
    ],
    [
        "DORA, article 11 (response and recovery)",
        "Incidents with checklist and timeline; recoveries with real mode; open gaps",
        "Which disasters were declared, how the recovery went, and what followed from it.",
    ],
    [
        "DORA, article 25 (testing of ICT tools and systems)",
        "Drills of the kinds check and recovery; coverage",
        "That these tests were done, with times and results. Other tests of the article are not covered.",
    ],
];

/// Adds the appendix.
pub(super) fn appendix(document: &mut Document) {
    document.heading("Appendix: use as evidence");
    document.text(
        "The table says which part of this report may serve as evidence, and for what. The report certifies nothing: \
         whether it is enough is for the auditor to decide. Figures cover the contracts that were configured within \
         the period, and rest on what the exporter observed. Names of people are as they gave them.",
    );
    let rows = ROWS.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect());
    document.table(&["asked by", "part of this report", "what it shows"], rows.collect());
}
