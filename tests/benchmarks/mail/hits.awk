# Accepted mail for a domain by client and disposition, joined as the reader does it: by queue id, from the
# client's line, the Message-ID's and qmgr's to the deliveries and the end.
/\/smtpd\[[0-9]*\]: [0-9A-Za-z]+: client=/ { client[$6] = $7; next }
/\/cleanup\[[0-9]*\]: [0-9A-Za-z]+: message-id=/ { name[$6] = $7; next }
/\/qmgr\[[0-9]*\]: [0-9A-Za-z]+: from=.* \(queue active\)/ { if (!($6 in at)) at[$6] = $1 " " $2 " " $3; next }
/: to=<[^>]*@example\.com>/ && / status=sent / {
  taken[$6] = taken[$6] ($0 ~ /\/smtp\[/ ? "relayed " : "delivered ")
  next
}
/: removed$/ {
  if ($6 in taken) {
    n = split(taken[$6], how, " ")
    for (i = 1; i <= n; i++) hits[client[$6] " " how[i]]++
    delete taken[$6]
  }
  delete client[$6]; delete name[$6]; delete at[$6]
}
END { for (one in hits) print hits[one], one }
