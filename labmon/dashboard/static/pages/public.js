// Free seats: read again every minute while somebody looks. The page is complete without this.

setInterval(() => document.hidden || location.reload(), 60_000);
