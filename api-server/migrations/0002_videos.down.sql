DROP TABLE api.videos;
