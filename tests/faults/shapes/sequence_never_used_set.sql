-- A sequence that was never used, which the migration sets, and nothing else
CREATE SEQUENCE invoice_numbers;
CREATE SEQUENCE uncalled;
SELECT setval('uncalled', 42, false);
-- part: migration
SELECT setval('invoice_numbers', 1, true);
SELECT setval('uncalled', 42, true);
