"""What is estimated from feedback: how several people's labels become one, and how sure that is.

Pure functions over plain values. Where the values come from and where the answers go is left to the rooms
above; of the others this room imports `schemas` only.

What other rooms import:

- `models.estimate`: `estimate` gives an `Estimate`, a rate with how sure it is and whether that is enough
- `models.labels`: `resolve`, `decide`, `leading`, and what they take and give: `Vote`, `Tally`,
  `Candidate`, `LabelDecision`, `CORRECTION`, `CONFIRMATION`, `GOLD`
"""
