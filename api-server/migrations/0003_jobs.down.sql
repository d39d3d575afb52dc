DROP TABLE api.jobs;
