-- Version 3: the last failures of a task, as lines (codec/failures.h).
ALTER TABLE cronq_task ADD COLUMN failures BLOB;
