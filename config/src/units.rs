//! Units: values that an operator writes with a unit, parsed once.
